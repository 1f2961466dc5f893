import { codeToHttpStatus, errorToJson } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import type { ConnectNodeAdapterOptions } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { toConnectError } from './connect-error.ts';

type Fallback = NonNullable<ConnectNodeAdapterOptions['fallback']>;

const MAX_PATH_CHARS = 200;
const CONNECT_CONTENT_TYPE = /^application\/(json|proto|connect\+)/;

/** Answers a request for an unknown method and reports it. Connect's own answer is a bare 404. */
export function answerUnimplemented(onUnknown: (error: ZlError) => void): Fallback {
  return (request, response) => {
    if (isRpc(request)) {
      const path = (request.url ?? '').slice(0, MAX_PATH_CHARS);
      const unknown = new ZlError('request.unimplemented', `unknown method ${path}`);
      onUnknown(unknown);
      return answerError(request, response, unknown);
    }
    // A browser or a scanner.
    response.statusCode = 404;
    response.end();
  };
}

/** Answers in the protocol of the request, before Connect has seen it. */
export function answerError(
  request: Pick<Parameters<Fallback>[0], 'headers'>,
  response: Pick<Parameters<Fallback>[1], 'end' | 'setHeader' | 'statusCode'>,
  reason: ZlError,
): void {
  const error = toConnectError(reason);
  const { 'content-type': contentType = '' } = request.headers;
  if (isGrpc(contentType)) {
    // A gRPC response of trailers only; its HTTP status is 200.
    response.setHeader('content-type', contentType);
    const trailer = new Headers();
    setTrailerStatus(trailer, error);
    for (const [name, value] of trailer) response.setHeader(name, value);
    response.end();
    return;
  }
  response.statusCode = codeToHttpStatus(error.code);
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(errorToJson(error, undefined)));
}

function isRpc({ headers }: Pick<Parameters<Fallback>[0], 'headers'>): boolean {
  const { 'content-type': contentType = '' } = headers;
  return isGrpc(contentType) || CONNECT_CONTENT_TYPE.test(contentType);
}

function isGrpc(contentType: string): boolean {
  return contentType.startsWith('application/grpc');
}
