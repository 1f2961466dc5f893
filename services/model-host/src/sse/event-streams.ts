import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { DescMethod } from '@bufbuild/protobuf';
import type { ContextValues } from '@connectrpc/connect';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { ProvenIdentity } from '@zerolatency/identity';
import { AgentService } from '@zerolatency/proto/agent';
import {
  type ArrivedRpc,
  answerError,
  type FailedStream,
  type MessageStream,
  type Serve,
} from '@zerolatency/service/rpc';
import { EventWriter } from './event-writer.ts';
import { type StreamSlots, Tickets } from './tickets.ts';

/** The RPCs of the host, for a protocol other than gRPC and Connect. */
export interface TurnRpcs {
  /** As for any RPC. What was proved already stands for the credentials of the request. */
  admit(rpc: ArrivedRpc, proven?: ProvenIdentity): Promise<ContextValues>;
  identityOf(values: ContextValues): ProvenIdentity;
  run(
    rpc: ArrivedRpc,
    call: {
      readonly values: ContextValues;
      readonly message: Promise<Uint8Array>;
      readonly stream: MessageStream;
    },
  ): Promise<FailedStream | undefined>;
  /** Turned away before its RPC began. */
  refused(method: DescMethod, error: ZlError): void;
  readonly maxMessageBytes: number;
}

interface Exchange {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
}

/** The last event that a client has received. */
interface Seen {
  readonly turnId: string;
  readonly afterSequence: string;
}

const TURN_PATH = /^\/v1\/turns\/([0-9a-f]{32})\/(events|ticket)$/;
const EVENT_ID = /^([0-9a-f]{32}):(\d{1,15})$/;
const { chat: CHAT, resumeTurn: RESUME } = AgentService.method;

const PREFLIGHT = {
  'access-control-allow-methods': 'GET, POST',
  'access-control-allow-headers':
    'authorization, connect-protocol-version, connect-timeout-ms, content-type, last-event-id, traceparent',
  'access-control-max-age': '600',
};

export interface EventStreamsOptions {
  readonly slots: StreamSlots;
  /** Origins of the pages that may use the host. */
  readonly origins: readonly string[];
}

/** Turns over plain HTTP: the events of the contract as server-sent events. */
export function eventStreams({ slots, origins }: EventStreamsOptions) {
  return {
    prefix: '/v1/',
    beside: (rpcs: TurnRpcs, others: Serve): Serve => {
      const streams = new EventStreams(rpcs, slots);
      return allowOrigins(origins, (request, response) =>
        (streams.find(request) ?? others)(request, response),
      );
    },
  };
}

class EventStreams {
  readonly #rpcs: TurnRpcs;
  readonly #tickets: Tickets;

  constructor(rpcs: TurnRpcs, slots: StreamSlots) {
    this.#rpcs = rpcs;
    this.#tickets = new Tickets(slots);
  }

  /** Undefined for a path that is served elsewhere. */
  find({ method, url }: Pick<Http2ServerRequest, 'method' | 'url'>): Serve | undefined {
    const [pathname = '', query] = url.split('?', 2);
    if (pathname === '/v1/chat' && method === 'POST') {
      return (request, response) => this.#chat({ request, response });
    }
    const [, turnId, what] = TURN_PATH.exec(pathname) ?? [];
    if (turnId === undefined) return undefined;
    if (what === 'events' && method === 'GET') {
      return (request, response) =>
        this.#follow({ request, response }, turnId, new URLSearchParams(query));
    }
    if (what === 'ticket' && method === 'POST') {
      return (request, response) => this.#issue({ request, response }, turnId);
    }
    return undefined;
  }

  /** A repeated request with Last-Event-ID continues the turn that the first one started. */
  #chat(exchange: Exchange): Promise<void> {
    const { request } = exchange;
    return this.#answer(exchange, CHAT, async () => {
      const seen = readEventId(request.headers['last-event-id']);
      if (seen !== undefined) return this.#resume(exchange, seen);
      const { 'content-type': type = '' } = request.headers;
      if (!/^application\/json *(;|$)/i.test(type)) {
        throw new ZlError('request.invalid', 'content-type is not application/json');
      }
      const rpc = { ...exchange, method: CHAT };
      const values = await this.#rpcs.admit(rpc);
      await this.#stream(rpc, values, readBody(request, this.#rpcs.maxMessageBytes));
    });
  }

  #follow(exchange: Exchange, turnId: string, query: URLSearchParams): Promise<void> {
    const { headers } = exchange.request;
    return this.#answer(exchange, RESUME, async () => {
      const ticket = query.get('ticket');
      const lastEventId = headers['last-event-id'] ?? query.get('lastEventId') ?? '';
      const seen = readEventId(lastEventId) ?? { turnId, afterSequence: '0' };
      if (seen.turnId !== turnId) {
        throw new ZlError('request.invalid', 'the last event id is of another turn');
      }
      const ticketed = ticket === null ? undefined : this.#tickets.redeem(ticket, turnId);
      await this.#resume(exchange, seen, ticketed);
    });
  }

  async #resume(exchange: Exchange, resume: Seen, ticketed?: ProvenIdentity): Promise<void> {
    const rpc = { ...exchange, method: RESUME };
    const values = await this.#rpcs.admit(rpc, ticketed);
    exchange.request.resume();
    await this.#stream(rpc, values, Promise.resolve(Buffer.from(JSON.stringify({ resume }))));
  }

  #issue(exchange: Exchange, turnId: string): Promise<void> {
    return this.#answer(exchange, RESUME, async () => {
      const values = await this.#rpcs.admit({ ...exchange, method: RESUME });
      const issued = this.#tickets.issue(this.#rpcs.identityOf(values), turnId);
      exchange.request.resume();
      exchange.response.writeHead(200, {
        ...{ 'content-type': 'application/json', 'cache-control': 'no-store' },
      });
      exchange.response.end(JSON.stringify(issued));
    });
  }

  async #stream(rpc: ArrivedRpc, values: ContextValues, message: Promise<Uint8Array>) {
    const stream = new EventWriter(rpc.response);
    stream.end(await this.#rpcs.run(rpc, { values, message, stream }));
  }

  /** A failure before the RPC begins is answered with its HTTP status. */
  async #answer({ request, response }: Exchange, method: DescMethod, serve: () => Promise<void>) {
    try {
      await serve();
    } catch (reason) {
      const error = fromUnknown(reason);
      this.#rpcs.refused(method, error);
      if (response.headersSent) (response.stream ?? response).destroy();
      else answerError(request, response, error);
    }
  }
}

/** @throws ZlError request.invalid for a text that is not an event id. */
function readEventId(header: string | string[] | undefined): Seen | undefined {
  if (header === undefined || header === '') return undefined;
  const [, turnId, afterSequence] = EVENT_ID.exec(String(header)) ?? [];
  if (turnId !== undefined && afterSequence !== undefined) return { turnId, afterSequence };
  throw new ZlError('request.invalid', 'the last event id is not the id of an event');
}

/** Rejects with request.too_large. */
function readBody(request: Http2ServerRequest, maxBytes: number): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const pieces: Buffer[] = [];
  let bytes = 0;
  request.on('data', (piece: Buffer) => {
    bytes += piece.length;
    if (bytes <= maxBytes) pieces.push(piece);
    else reject(new ZlError('request.too_large', `the body is longer than ${maxBytes} bytes`));
  });
  request.once('end', () => resolve(Buffer.concat(pieces)));
  for (const event of ['aborted', 'close', 'error']) {
    request.once(event, () => reject(new ZlError('turn.cancelled', 'the client left')));
  }
  return promise;
}

/**
 * Lets pages of exactly these origins read responses. The browser of any other page asks before it sends
 * a token or a JSON body, and is not allowed to.
 */
function allowOrigins(origins: readonly string[], serve: Serve): Serve {
  const allowed = new Set(origins);
  return (request, response) => {
    const { origin, 'access-control-request-method': preflight } = request.headers;
    const isPreflight = request.method === 'OPTIONS' && preflight !== undefined;
    if (allowed.size > 0) response.setHeader('vary', 'origin');
    if (origin !== undefined && allowed.has(origin)) {
      response.setHeader('access-control-allow-origin', origin);
      if (isPreflight) {
        response.writeHead(204, PREFLIGHT);
        response.end();
        return;
      }
    }
    return serve(request, response);
  };
}
