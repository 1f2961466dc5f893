import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { ZlError } from '@zerolatency/errors';
import { Agent, buildConnector, request } from 'undici';

export interface HttpBounds {
  /** Connections to this provider; further requests wait for one. */
  readonly connections: number;
  readonly firstByteMs: number;
  /** Between two pieces of a reply. */
  readonly idleMs: number;
  readonly totalMs: number;
  readonly maxReplyBytes: number;
}

export interface ProviderHttpOptions {
  readonly baseUrl: string;
  readonly bounds: HttpBounds;
  /**
   * The header that proves who asks; read for each request, so that a changed key is used at once,
   * and again when the provider refuses it. A package passes the account on as ACCOUNT_HEADER.
   */
  readonly authorize: (account: string, isRefused: boolean) => Promise<AuthHeader | undefined>;
}

export type AuthHeader = readonly [name: string, value: string];

/** Names whose key a request carries. It never leaves the host. */
export const ACCOUNT_HEADER = 'x-zerolatency-account';

export interface ProviderHttp {
  /** For the packages of vendors. It goes to the provider's own origin and follows no redirects. */
  readonly fetch: typeof globalThis.fetch;
  /** Opens the connection of the first request, TLS included. */
  warm(): Promise<void>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Longer than a person thinks between two messages, as a rule; shorter than servers keep a connection. */
const KEEP_ALIVE_MS = 50_000;
/** Of a key. */
const REFUSALS = new Set([401, 403]);
const PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };
const BODILESS = new Set([204, 205, 304]);

export function openHttp({ baseUrl, bounds, authorize }: ProviderHttpOptions): ProviderHttp {
  const { origin } = new URL(baseUrl);
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT_MS });
  const warmed = new WarmConnection(baseUrl, connect);
  const agent = new Agent({
    connections: bounds.connections,
    connect(options, callback) {
      const socket = warmed.take();
      if (socket === undefined) connect(options, callback);
      // Before its own call has returned, undici would not send the request.
      else queueMicrotask(() => callback(null, socket));
    },
    headersTimeout: bounds.firstByteMs,
    bodyTimeout: bounds.idleMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
  });
  async function send(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== origin) {
      throw new ZlError('provider.failed', `a request to ${url.origin} is not for ${origin}`);
    }
    const { body, method = 'GET' } = init;
    if (typeof body !== 'string') throw new Error('a request to a model has a text as its body');
    const headers = new Headers(init.headers);
    const account = headers.get(ACCOUNT_HEADER) ?? '';
    headers.delete(ACCOUNT_HEADER);
    const proof = await authorize(account, false);
    if (proof !== undefined) headers.set(...proof);
    const deadline = AbortSignal.timeout(bounds.totalMs);
    const signal = init.signal ? AbortSignal.any([init.signal, deadline]) : deadline;
    const ask = () => request(url, { dispatcher: agent, method, headers, body, signal });
    let reply = await ask();
    if (proof !== undefined && REFUSALS.has(reply.statusCode)) {
      const changed = await authorize(account, true).catch(() => undefined);
      if (changed !== undefined && changed[1] !== proof[1]) {
        await reply.body.dump();
        headers.set(...changed);
        reply = await ask();
      }
    }
    const isBodiless = BODILESS.has(reply.statusCode);
    return new Response(isBodiless ? null : bounded(reply.body, bounds.maxReplyBytes), {
      status: reply.statusCode,
      headers: headersOf(reply.headers),
    });
  }
  return {
    fetch: send,
    warm: () => warmed.open(),
    async close() {
      warmed.close();
      await agent.destroy();
    },
  };
}

/** A connection that waits for its first request; the agent itself connects only for a request. */
class WarmConnection {
  readonly #options: buildConnector.Options;
  readonly #connect: buildConnector.connector;
  #socket: Socket | undefined;
  #isClosed = false;
  readonly #forget = () => {
    this.#socket = undefined;
  };

  constructor(baseUrl: string, connect: buildConnector.connector) {
    const { protocol, hostname: name, host, port } = new URL(baseUrl);
    // As undici asks for it: an IPv6 address without its brackets.
    const hostname = name.replace(/^\[(.*)\]$/, '$1');
    this.#options = { protocol, hostname, host, port: port || PORTS[protocol] || '' };
    this.#connect = connect;
  }

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#connect(this.#options, (error, socket) => {
        if (error !== null) return reject(error);
        if (this.#isClosed) return socket.destroy();
        // A server closes a connection on which nothing is asked; the next request opens another.
        socket.on('error', this.#forget).once('close', this.#forget);
        this.#socket = socket;
        resolve();
      });
    });
  }

  take(): Socket | undefined {
    const socket = this.#socket;
    socket?.off('error', this.#forget).off('close', this.#forget);
    this.#socket = undefined;
    return socket?.destroyed ? undefined : socket;
  }

  close(): void {
    this.#isClosed = true;
    this.take()?.destroy();
  }
}

function bounded(body: Readable, maxBytes: number): ReadableStream<Uint8Array> {
  // The reader gets the error; without a reader it does not matter.
  body.on('error', () => {});
  const pieces = body.iterator({ destroyOnReturn: true });
  let bytes = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) return controller.close();
        bytes += value.length;
        if (bytes > maxBytes) {
          body.destroy();
          throw new ZlError('provider.failed', `the reply is longer than ${maxBytes} bytes`);
        }
        controller.enqueue(value);
      },
      cancel() {
        body.destroy();
      },
    },
    { highWaterMark: 0 },
  );
}

function headersOf(received: NodeJS.Dict<string | string[]>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    for (const one of [value ?? []].flat()) headers.append(name, one);
  }
  return headers;
}
