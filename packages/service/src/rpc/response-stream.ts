import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { type ContextValues, createContextKey, type HandlerContext } from '@connectrpc/connect';
import {
  createAsyncIterable,
  encodeEnvelope,
  readAllBytes,
  type UniversalHandler,
} from '@connectrpc/connect/protocol';
import {
  codeToHttpStatus,
  endStreamFromJson,
  errorToJson,
} from '@connectrpc/connect/protocol-connect';
import {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { isGrpc } from './answer-error.ts';

/** Of an envelope: flags, and the length of its message. */
const HEAD_BYTES = 5;
/** Our own errors and their details. */
const MAX_END_BYTES = 1024 * 1024;

/** Where a streaming RPC sends its messages. */
export interface MessageStream {
  readonly isBinary: boolean;
  /** Resolves when the socket has taken the message, or the client is gone. */
  send(message: Uint8Array): Promise<void>;
}

/**
 * The messages of a streaming RPC on their way to its client. A handler that sends them here yields
 * none to Connect, whose async generators cost each message more than the rest of its way.
 */
class ResponseStream implements MessageStream {
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

const streamKey = createContextKey<MessageStream | undefined>(undefined, {
  description: 'the response',
});

export function responseStreamOf({ values }: Pick<HandlerContext, 'values'>): MessageStream {
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

export interface FailedStream {
  /** Of HTTP. */
  readonly status: number;
  /** As Connect writes the error, with its details. */
  readonly json: object;
}

interface MessageExchange extends Exchange {
  /** The request message in JSON. */
  readonly message: Promise<Uint8Array>;
  readonly stream: MessageStream;
}

/** Runs a server-streaming RPC for a protocol of ours. Rejects only when the message does. */
export async function runStreaming(
  handler: UniversalHandler,
  { request, response, values, message, stream }: MessageExchange,
): Promise<FailedStream | undefined> {
  values.set(streamKey, stream);
  // Before anything is awaited, so that it notices a client that leaves.
  const asked = universalRequestFromNodeRequest(request, response, undefined, values);
  const header = new Headers({ 'content-type': 'application/connect+json' });
  for (const name of ['authorization', 'traceparent']) {
    const value = asked.header.get(name);
    if (value !== null) header.set(name, value);
  }
  const body = createAsyncIterable([encodeEnvelope(0, await message)]);
  const answer = await handler({ ...asked, method: 'POST', header, body });
  const end = await readAllBytes(answer.body ?? createAsyncIterable([]), MAX_END_BYTES);
  const { error } = endStreamFromJson(end.subarray(HEAD_BYTES));
  if (error === undefined) return undefined;
  return { status: codeToHttpStatus(error.code), json: errorToJson(error, undefined) };
}
