import { ZlError } from '@zerolatency/errors';
import { WebSocket } from 'ws';
import type { RelayLimits } from './limits.ts';

/** The connection's own material; read again for each socket, so a renewed pair is used from then on. */
export interface LinkCredentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly token: string;
}

export interface LinkSocketEvents {
  onOpen(): void;
  onMessage(bytes: Uint8Array): void;
  onRoundTrip(ms: number): void;
  /** Once, whatever ended it; nothing is called after. */
  onClosed(reason: ZlError): void;
}

export interface LinkSocketOptions {
  readonly url: string;
  readonly credentials: LinkCredentials;
  readonly limits: RelayLimits;
  readonly events: LinkSocketEvents;
}

/** An id of the catalogue and a sentence. */
const MAX_REFUSAL_CHARS = 1000;

/**
 * uWebSockets.js answers a ping while it is still reading, and then drops what
 * is left of a full TLS buffer (512 KiB), which ends the link. So a busy link
 * that still receives is not pinged.
 */
const MAX_BYTES_BESIDE_PING = 256 * 1024;

const BINARY = { binary: true, compress: false } as const;

/** One WebSocket to one relay pod, from dialling until it is gone. It owns its timers. */
export class LinkSocket {
  readonly #socket: WebSocket;
  readonly #events: LinkSocketEvents;
  readonly #limits: RelayLimits;
  #dialTimer: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #hasHeard = true;
  #isPinged = false;
  #sentBytes = 0;
  #pingedMs = 0;
  #closed = false;

  constructor({ url, credentials, limits, events }: LinkSocketOptions) {
    this.#events = events;
    this.#limits = limits;
    this.#socket = new WebSocket(url, {
      ca: credentials.ca,
      cert: credentials.cert,
      key: credentials.key,
      headers: { authorization: `Bearer ${credentials.token}` },
      perMessageDeflate: false,
      maxPayload: limits.maxFrameBytes,
      followRedirects: false,
    });
    this.#dialTimer = setTimeout(
      () => this.destroy(`no answer within ${limits.dialTimeoutMs} ms`),
      limits.dialTimeoutMs,
    );
    this.#listen();
  }

  /** Hands the frame to the kernel before it returns. */
  send(bytes: Uint8Array): void {
    this.#socket.send(bytes, BINARY);
    this.#sentBytes += bytes.length;
    const { maxQueueBytes } = this.#limits;
    if (this.#socket.bufferedAmount > maxQueueBytes) {
      // Later, because the sender cannot handle a lost route while it sends.
      queueMicrotask(() =>
        this.destroy(`the relay reads too slowly: over ${maxQueueBytes} bytes wait`),
      );
    }
  }

  /** Ends it at once and drops what is queued; the calls on it resume elsewhere. */
  destroy(why: string): void {
    if (this.#closed) return;
    this.#socket.terminate();
    this.#settle(why);
  }

  /** Sends what is queued, then closes; ws drops a relay that does not answer. */
  close(): void {
    if (this.#closed) return;
    this.#socket.close(1000);
    this.#settle('closed by this host');
  }

  #listen(): void {
    this.#socket.on('open', () => {
      if (this.#closed) return;
      clearTimeout(this.#dialTimer);
      this.#heartbeat = setInterval(() => this.#beat(), this.#limits.heartbeatMs);
      this.#events.onOpen();
    });
    this.#socket.on('message', (data, isBinary) => {
      if (this.#closed) return;
      this.#hasHeard = true;
      if (!isBinary || !(data instanceof Uint8Array)) this.destroy('the relay sent a text message');
      else this.#events.onMessage(data);
    });
    this.#socket.on('pong', () => {
      this.#hasHeard = true;
      this.#events.onRoundTrip(performance.now() - this.#pingedMs);
    });
    this.#socket.on('unexpected-response', (_request, response) => {
      let answer = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        answer = (answer + text).slice(0, MAX_REFUSAL_CHARS);
      });
      response.on('end', () =>
        this.destroy(`refused with ${response.statusCode}: ${answer.trim()}`),
      );
    });
    this.#socket.on('error', (error) => this.#settle(error.message));
    this.#socket.on('close', (code) => this.#settle(`the relay closed the link (${code})`));
  }

  #beat(): void {
    if (this.#isPinged && !this.#hasHeard) {
      this.destroy(`the relay did not answer for ${this.#limits.heartbeatMs} ms`);
      return;
    }
    this.#isPinged = !this.#hasHeard || this.#sentBytes <= MAX_BYTES_BESIDE_PING;
    this.#hasHeard = false;
    this.#sentBytes = 0;
    if (!this.#isPinged) return;
    this.#pingedMs = performance.now();
    this.#socket.ping();
  }

  #settle(why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#dialTimer);
    clearInterval(this.#heartbeat);
    this.#events.onClosed(new ZlError('relay.unreachable', `${this.#socket.url}: ${why}`));
  }
}
