import { errorToJson } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import type { ConnectNodeAdapterOptions } from '@connectrpc/connect-node';
import { ZlError } from '@zerolatency/errors';
import { toConnectError } from './connect-error.ts';

type Fallback = NonNullable<ConnectNodeAdapterOptions['fallback']>;

const MAX_PATH_CHARS = 200;
const CONNECT_CONTENT_TYPE = /^application\/(json|proto|connect\+)/;

/** Answers a request for an unknown method. Connect's own answer is a bare 404. */
export const answerUnimplemented: Fallback = (request, response) => {
  const path = (request.url ?? '').slice(0, MAX_PATH_CHARS);
  const error = toConnectError(new ZlError('request.unimplemented', `unknown method ${path}`));
  const contentType = request.headers['content-type'] ?? '';
  if (contentType.startsWith('application/grpc')) {
    // A gRPC response of trailers only; its HTTP status is 200.
    response.setHeader('content-type', contentType);
    const trailer = new Headers();
    setTrailerStatus(trailer, error);
    for (const [name, value] of trailer) response.setHeader(name, value);
    response.end();
    return;
  }
  if (!CONNECT_CONTENT_TYPE.test(contentType)) {
    // Not an RPC at all: a browser or a scanner.
    response.statusCode = 404;
    response.end();
    return;
  }
  // 501 is what the Connect protocol has for unimplemented.
  response.statusCode = 501;
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(errorToJson(error, undefined)));
};
