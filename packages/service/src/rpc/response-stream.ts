import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { type ContextValues, createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { isGrpc } from './answer-error.ts';

/** Of an envelope: flags, and the length of its message. */
const HEAD_BYTES = 5;

/**
 * The messages of a streaming RPC on their way to its client. A handler that sends them here yields
 * none to Connect, whose async generators cost each message more than the rest of its way.
 */
export class ResponseStream {
  readonly isBinary: boolean;
  readonly #response: Http2ServerResponse;
  readonly #contentType: string;

  constructor({ headers }: Http2ServerRequest, response: Http2ServerResponse) {
    const { 'content-type': asked = '' } = headers;
    this.isBinary = !/\+json\b/i.test(asked);
    const protocol = isGrpc(asked) ? 'application/grpc' : 'application/connect';
    this.#contentType = `${protocol}+${this.isBinary ? 'proto' : 'json'}`;
    this.#response = response;
  }

  /** Resolves when the socket has taken the message, or the client is gone. */
  send(message: Uint8Array): Promise<void> {
    const response = this.#response;
    if ((response.stream ?? response).destroyed) return Promise.resolve();
    if (!response.headersSent) response.writeHead(200, { 'content-type': this.#contentType });
    const envelope = Buffer.allocUnsafe(HEAD_BYTES + message.length);
    envelope[0] = 0;
    envelope.writeUInt32BE(message.length, 1);
    envelope.set(message, HEAD_BYTES);
    return new Promise((resolve) => {
      response.write(envelope, () => resolve());
    });
  }
}

const streamKey = createContextKey<ResponseStream | undefined>(undefined, {
  description: 'the response',
});

export function responseStreamOf({ values }: Pick<HandlerContext, 'values'>): ResponseStream {
  const stream = values.get(streamKey);
  if (stream === undefined) throw new Error('the service is served without its gate');
  return stream;
}

interface Exchange {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly values: ContextValues;
}

/** Lets the handler send messages past Connect, which reads the request and ends the response. */
export async function serveStreaming(
  handler: UniversalHandler,
  { request, response, values }: Exchange,
): Promise<void> {
  values.set(streamKey, new ResponseStream(request, response));
  const asked = universalRequestFromNodeRequest(request, response, undefined, values);
  try {
    const answer = await handler(asked);
    if (!response.headersSent) return await universalResponseToNodeResponse(answer, response);
    // What Connect's own protocol says at the end of a stream.
    for await (const bytes of answer.body ?? []) response.write(bytes);
    response.addTrailers(Object.fromEntries(answer.trailer ?? []));
    response.end();
  } catch {
    // The handler states its errors in the answer, so it is the client that is gone.
    (response.stream ?? response).destroy();
  }
}
