import type { Http2ServerResponse } from 'node:http2';
import type { FailedStream, MessageStream } from '@zerolatency/service/rpc';

/** Proxies close a response that is silent for a minute. */
const KEEP_ALIVE_MS = 15_000;
/** How long an EventSource waits before it connects again. */
const RETRY_MS = 2_000;

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  // For nginx, which otherwise holds events back.
  'x-accel-buffering': 'no',
};

/** The message of the RPC holds the event and nothing else. */
const HEAD = '{"event":';

interface EventId {
  readonly turnId: string;
  readonly sequence: string;
}

/** Chat events as server-sent events. The head waits for the first of them, so that an earlier error has its own status. */
export class EventWriter implements MessageStream {
  readonly isBinary = false;
  readonly #response: Http2ServerResponse;
  readonly #keepAlive: NodeJS.Timeout;

  constructor(response: Http2ServerResponse, keepAliveMs = KEEP_ALIVE_MS) {
    this.#response = response;
    this.#keepAlive = setInterval(() => this.#comment(), keepAliveMs);
    response.once('close', () => clearInterval(this.#keepAlive));
  }

  async send(message: Uint8Array): Promise<void> {
    const text = Buffer.from(message).toString().slice(HEAD.length, -1);
    const { turnId, sequence } = JSON.parse(text) as EventId;
    await this.#write(`id: ${turnId}:${sequence}\ndata: ${text}\n\n`);
  }

  /** Without events, the response has the status of the error, or 204 when nothing more comes. */
  end(failure: FailedStream | undefined): void {
    clearInterval(this.#keepAlive);
    const response = this.#response;
    if (response.headersSent) {
      const outcome = failure === undefined ? {} : { error: failure.json };
      response.end(`event: end\ndata: ${JSON.stringify(outcome)}\n\n`);
    } else if (failure === undefined) {
      // An EventSource does not reconnect after 204.
      response.writeHead(204).end();
    } else {
      response.writeHead(failure.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(failure.json));
    }
  }

  #comment(): void {
    // Writing to a reader that is behind would hide that it has stalled.
    const { writableLength } = this.#response.stream ?? this.#response;
    if (writableLength === 0) void this.#write(': keep-alive\n\n');
  }

  #write(text: string): Promise<void> {
    const response = this.#response;
    if (response.writableEnded || (response.stream ?? response).destroyed) return Promise.resolve();
    const isFirst = !response.headersSent;
    if (isFirst) response.writeHead(200, HEADERS);
    return new Promise((resolve) => {
      response.write(isFirst ? `retry: ${RETRY_MS}\n\n${text}` : text, () => resolve());
    });
  }
}
