import { errorToJson } from '@connectrpc/connect/protocol-connect';
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
    const path = (request.url ?? '').slice(0, MAX_PATH_CHARS);
    const contentType = request.headers['content-type'] ?? '';
    const isGrpc = contentType.startsWith('application/grpc');
    if (!isGrpc && !CONNECT_CONTENT_TYPE.test(contentType)) {
      // Not an RPC at all: a browser or a scanner.
      response.statusCode = 404;
      response.end();
      return;
    }
    const unknown = new ZlError('request.unimplemented', `unknown method ${path}`);
    onUnknown(unknown);
    const error = toConnectError(unknown);
    if (isGrpc) {
      // A gRPC response of trailers only; its HTTP status is 200.
      response.setHeader('content-type', contentType);
      const trailer = new Headers();
      setTrailerStatus(trailer, error);
      for (const [name, value] of trailer) response.setHeader(name, value);
      response.end();
      return;
    }
    // 501 is what the Connect protocol has for unimplemented.
    response.statusCode = 501;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(errorToJson(error, undefined)));
  };
}
