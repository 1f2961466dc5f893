import { codeToHttpStatus, errorToJson } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import type { ConnectNodeAdapterOptions } from '@connectrpc/connect-node';
import type { ZlError } from '@zerolatency/errors';
import { toConnectError } from './connect-error.ts';

type Fallback = NonNullable<ConnectNodeAdapterOptions['fallback']>;

const CONNECT_CONTENT_TYPE = /^application\/(json|proto|connect\+)/;

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

export function isRpc({ headers }: Pick<Parameters<Fallback>[0], 'headers'>): boolean {
  const { 'content-type': contentType = '' } = headers;
  return isGrpc(contentType) || CONNECT_CONTENT_TYPE.test(contentType);
}

export function isGrpc(contentType: string): boolean {
  return contentType.startsWith('application/grpc');
}
