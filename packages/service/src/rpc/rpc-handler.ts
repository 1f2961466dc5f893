import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { ConnectError, type ContextValues } from '@connectrpc/connect';
import {
  createAsyncIterable,
  readAllBytes,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from '@connectrpc/connect/protocol';
import {
  codeToHttpStatus,
  errorFromJsonBytes,
  errorToJsonBytes,
} from '@connectrpc/connect/protocol-connect';
import { findTrailerError, setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import { type ConnectNodeAdapterOptions, connectNodeAdapter } from '@connectrpc/connect-node';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { answerError, isGrpc, isRpc } from './answer-error.ts';
import { readingError, toConnectError } from './connect-error.ts';
import { serveStreaming } from './response-stream.ts';

export interface RpcHandlerOptions extends Omit<ConnectNodeAdapterOptions, 'fallback' | 'grpcWeb'> {
  /** A request that no interceptor saw; the method is "other" where nobody serves its path. */
  readonly onRefused: (refusal: { readonly method: string; readonly error: ZlError }) => void;
  readonly gate?: Gate;
}

/** An RPC whose headers have been read, and nothing more. */
export interface ArrivedRpc {
  readonly method: DescMethod;
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
}

/** Admits the RPCs of a service before Connect takes them: most of what a refusal would cost is Connect's. */
export interface Gate {
  readonly service: DescService;
  /** Gives what the handler will find in its context; whatever it throws is told to the client. */
  readonly admit: (rpc: ArrivedRpc) => Promise<ContextValues>;
}

export type Serve = (
  request: Http2ServerRequest,
  response: Http2ServerResponse,
) => void | Promise<void>;
type OnRefused = (error: ZlError) => void;

const MAX_NAME_CHARS = 200;
const FIRST_ERROR_STATUS = 400;
// Our own messages and details; a message of a peer in them is bounded where it is read.
const MAX_ERROR_BYTES = 1024 * 1024;

/** Serves gRPC and Connect. Every refusal carries an id of the catalogue and the details of google.rpc. */
export function rpcHandler({ routes, onRefused, gate, ...options }: RpcHandlerOptions): Serve {
  const gated = new Map<string | undefined, UniversalHandler>();
  const serve = connectNodeAdapter({
    ...options,
    grpcWeb: false,
    routes: (router) => {
      routes(router);
      router.handlers.forEach((handler, index, handlers) => {
        const method = nameOf(handler);
        handlers[index] = detailed(handler, (error) => onRefused({ method, error }));
        if (handler.service === gate?.service) gated.set(handler.requestPath, handler);
      });
    },
    fallback: (request, response) => {
      // A browser or a scanner.
      if (!isRpc(request)) {
        response.statusCode = 404;
        return response.end();
      }
      const path = (request.url ?? '').slice(0, MAX_NAME_CHARS);
      const error = new ZlError('request.unimplemented', `unknown method ${path}`);
      onRefused({ method: 'other', error });
      return answerError(request, response, error);
    },
  });
  if (gate === undefined) return serve;
  return async (request, response) => {
    const handler = gated.get(request.url.split('?', 1)[0]);
    // Connect refuses the rest by its head.
    if (handler !== undefined && takes(handler, request)) {
      let values: ContextValues;
      try {
        values = await gate.admit({ method: handler.method, request, response });
      } catch (reason) {
        const error = fromUnknown(reason);
        onRefused({ method: nameOf(handler), error });
        return answerError(request, response, error);
      }
      return serveStreaming(handler, { request, response, values });
    }
    serve(request, response);
  };
}

function takes(handler: UniversalHandler, request: Http2ServerRequest): boolean {
  const { allowedMethods, supportedContentType, method } = handler;
  if (method.methodKind === 'bidi_streaming' && request.httpVersionMajor < 2) return false;
  const { 'content-type': contentType = '' } = request.headers;
  return allowedMethods.includes(request.method) && supportedContentType(contentType);
}

/** Service and method, as gRPC writes them in its paths. */
function nameOf({ service, method }: Pick<UniversalHandler, 'service' | 'method'>): string {
  return `${service.typeName}/${method.name}`;
}

/** Connect reads the message of a unary RPC before any interceptor, and refuses some requests by their head. */
function detailed(handler: UniversalHandler, onRefused: OnRefused): UniversalHandler {
  const served = async (request: UniversalServerRequest) => {
    const response = await handler(request);
    if (response.status >= FIRST_ERROR_STATUS && response.body === undefined) {
      return refusedHead(request, response, onRefused);
    }
    return handler.method.methodKind === 'unary' ? refusedMessage(response, onRefused) : response;
  };
  return Object.assign(served, handler);
}

/** Connect answers these with an HTTP status alone. */
function refusedHead(
  request: UniversalServerRequest,
  response: UniversalServerResponse,
  onRefused: OnRefused,
): UniversalServerResponse {
  const reason = new ZlError('request.invalid', whyRefused(request, response.status));
  onRefused(reason);
  const error = toConnectError(reason);
  const contentType = request.header.get('content-type') ?? '';
  if (isGrpc(contentType)) {
    const header = new Headers({ 'content-type': contentType });
    return { status: 200, header: setTrailerStatus(header, error) };
  }
  const header = new Headers(response.header);
  header.set('content-type', 'application/json');
  const body = createAsyncIterable([errorToJsonBytes(error, undefined)]);
  return { status: response.status, header, body };
}

function whyRefused(request: UniversalServerRequest, status: number): string {
  if (status === 405) return `method ${request.method} is not served, use POST`;
  if (status === 505) return 'a stream in both directions needs HTTP/2';
  const contentType = (request.header.get('content-type') ?? '').slice(0, MAX_NAME_CHARS);
  return `content type "${contentType}" is not one of gRPC or Connect for this method`;
}

/** Whatever the handler itself refused has its details by now. */
async function refusedMessage(
  response: UniversalServerResponse,
  onRefused: OnRefused,
): Promise<UniversalServerResponse> {
  const { status, header, trailer, body: given } = response;
  const detailsOf = (refused: ConnectError) => {
    const error = readingError(refused);
    onRefused(error);
    return toConnectError(error);
  };
  const refused = trailer && findTrailerError(trailer);
  if (trailer !== undefined && refused?.details.length === 0) {
    setTrailerStatus(trailer, detailsOf(refused));
  }
  // Only an error with details is long enough to be compressed.
  if (status < FIRST_ERROR_STATUS || given === undefined || header?.has('content-encoding')) {
    return response;
  }
  const bytes = await readAllBytes(given, MAX_ERROR_BYTES);
  const plain = errorFromJsonBytes(bytes, undefined, new ConnectError('unreadable error'));
  if (plain.details.length > 0) return { ...response, body: createAsyncIterable([bytes]) };
  const error = detailsOf(plain);
  const detailed = errorToJsonBytes(error, undefined);
  header?.set('content-length', `${detailed.length}`);
  const body = createAsyncIterable([detailed]);
  return { ...response, status: codeToHttpStatus(error.code), body };
}
