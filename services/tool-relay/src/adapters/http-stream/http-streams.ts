import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket as Connection } from 'node:net';
import { STREAM_CONTENT_TYPE, STREAM_ID_HEADER, STREAM_SEQUENCE_HEADER } from '@zerolatency/frame';
import {
  type Arrival,
  type SocketEngineOptions,
  STREAM_PATHS,
} from '../../sockets/socket-engine.ts';
import {
  answer,
  INTERNAL_ERROR,
  originOf,
  refusalAnswer,
  UNKNOWN_PATH,
  type UpgradeAnswer,
} from '../socket-engine.ts';
import { type Post, StreamSocket } from './stream-socket.ts';

/** The sequence number of a POST, or the size of its body. */
const NUMBER = /^(0|[1-9]\d{0,9})$/;

const NOT_FROM_PAGES = invalid(403, 'pages of a browser may not use HTTP streams');
const NOT_A_POST = invalid(405, 'HTTP streams are made of POST requests');
const WRONG_TYPE = invalid(415, `the content type must be ${STREAM_CONTENT_TYPE}`);
const NO_LENGTH = invalid(411, 'the request needs a content-length');
const NOT_EMPTY = invalid(400, 'the request that opens a stream has no body');
const USED_CONNECTION = invalid(400, 'a stream begins on a connection of its own');
const NO_STREAM = answer(404, 'stream.not_found', 'this relay holds no such stream');
const OUT_OF_TURN = answer(409, 'frame.malformed', 'the POST is out of turn');
const TOO_LARGE = answer(413, 'frame.too_large', 'the body is over the size limit');

export interface Arrived {
  readonly arrival: Arrival;
  readonly address: string;
}

interface HttpStreamsOptions extends SocketEngineOptions {
  readonly arrivalOf: (connection: Connection) => Arrived | undefined;
}

/** Answers the HTTP requests that are not upgrades: HTTP streams of devices, for both of their requests. */
export class HttpStreams {
  readonly #options: HttpStreamsOptions;
  readonly #streams = new Map<string, StreamSocket>();
  /** Those that carry a stream, which carry nothing else, or have carried a request. */
  readonly #connections = new WeakMap<Connection, 'stream' | 'posts'>();

  constructor(options: HttpStreamsOptions) {
    this.#options = options;
  }

  hasServed(connection: Connection): boolean {
    return this.#connections.has(connection);
  }

  /** Cuts all streams. */
  close(): void {
    for (const stream of [...this.#streams.values()]) stream.terminate();
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', ignore);
    const arrived = this.#options.arrivalOf(request.socket);
    // A connection with a stream carries nothing else: what follows would wait behind it.
    if (arrived === undefined || this.#connections.get(request.socket) === 'stream') {
      request.socket.destroy();
      return;
    }
    const exchange = { request, response };
    const path = request.url?.split('?', 1)[0];
    const isDown = path === STREAM_PATHS.down;
    if (!isDown && path !== STREAM_PATHS.up) {
      refuse(exchange, UNKNOWN_PATH);
      return;
    }
    const refusal =
      faultOf(request) ?? (isDown ? this.#open(exchange, arrived) : this.#post(exchange, arrived));
    if (refusal === undefined) return;
    this.#options.onStreamRequest(refusal.id);
    refuse(exchange, refusal);
  }

  #open({ request, response }: Post, { arrival, address }: Arrived): UpgradeAnswer | undefined {
    if (bodyBytes(request) !== 0) return NOT_EMPTY;
    if (this.#connections.has(request.socket)) return USED_CONNECTION;
    const forwardedFor = forwardedForOf(request);
    const origin = originOf(this.#options.balancers, { arrival, address, forwardedFor });
    if ('refusal' in origin) return origin.refusal;
    let stream: StreamSocket | undefined;
    const shared = sharedArrival(arrival, () => stream?.proved());
    try {
      const { authorization = '' } = request.headers;
      const asked = { arrival: shared, endpoint: 'device', authorization } as const;
      const { listener, refusal } = this.#options.admit({ ...asked, address: origin.address });
      if (listener === undefined) return refusalAnswer(refusal);
      this.#connections.set(request.socket, 'stream');
      stream = new StreamSocket({
        ...this.#options,
        response,
        listener,
        answer: (post) => this.#taken(post),
        onGone: () => stream && this.#streams.delete(stream.id),
      });
      this.#streams.set(stream.id, stream);
      response.writeHead(200, {
        'content-type': STREAM_CONTENT_TYPE,
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
        connection: 'close',
      });
      stream.opened();
      this.#options.onStreamRequest('none');
      return undefined;
    } catch (error) {
      this.#options.onFailure(error);
      stream?.terminate();
      return INTERNAL_ERROR;
    }
  }

  #post(post: Post, { arrival, address }: Arrived): UpgradeAnswer | undefined {
    const { request } = post;
    const bytes = bodyBytes(request);
    if (bytes === undefined) return NO_LENGTH;
    const stream = this.#streams.get(headerOf(request, STREAM_ID_HEADER));
    if (stream === undefined) {
      const forwardedFor = forwardedForOf(request);
      const origin = originOf(this.#options.balancers, { arrival, address, forwardedFor });
      return 'refusal' in origin ? origin.refusal : NO_STREAM;
    }
    this.#connections.set(request.socket, 'posts');
    stream.carriedBy(request.socket, arrival);
    const sequence = headerOf(request, STREAM_SEQUENCE_HEADER);
    // A number that cannot be read is out of turn.
    const place = NUMBER.test(sequence) ? Number(sequence) : Number.POSITIVE_INFINITY;
    const fault = stream.post(post, { sequence: place, bytes });
    if (fault === undefined) return undefined;
    return fault === 'malformed' ? OUT_OF_TURN : TOO_LARGE;
  }

  #taken({ request, response }: Post): void {
    this.#options.onStreamRequest('none');
    const { balancers } = this.#options;
    const { address = '' } = this.#options.arrivalOf(request.socket) ?? {};
    // A balancer would send other devices over the same connection.
    const isShared = balancers.kind === 'forwarded-for' && balancers.trusts(address);
    response.writeHead(204, isShared ? { connection: 'close' } : {}).end();
  }
}

function refuse({ request, response }: Post, { status, body }: UpgradeAnswer): void {
  if (response.headersSent) return;
  request.resume();
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(body);
}

function ignore(): void {
  // Written to after its connection broke; a close event follows.
}

/** What both kinds of request have to be. */
function faultOf({ method, headers }: IncomingMessage): UpgradeAnswer | undefined {
  if (headers.origin !== undefined) return NOT_FROM_PAGES;
  if (method !== 'POST') return NOT_A_POST;
  return headers['content-type'] === STREAM_CONTENT_TYPE ? undefined : WRONG_TYPE;
}

/** Undefined for a body of unknown length. */
function bodyBytes({ headers }: IncomingMessage): number | undefined {
  const given = headers['content-length'] ?? '';
  return NUMBER.test(given) ? Number(given) : undefined;
}

function headerOf({ headers }: IncomingMessage, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : '';
}

function forwardedForOf(request: IncomingMessage): string {
  return request.headersDistinct['x-forwarded-for']?.join(',') ?? '';
}

/** The connection of the stream vouches for those of its POSTs. */
function sharedArrival(arrival: Arrival, onProved: () => void): Arrival {
  return {
    get endSocket() {
      return arrival.endSocket;
    },
    set endSocket(end) {
      arrival.endSocket = end;
    },
    named: (address) => arrival.named(address),
    gone: () => arrival.gone(),
    proved: () => {
      arrival.proved();
      onProved();
    },
  };
}

function invalid(status: UpgradeAnswer['status'], why: string): UpgradeAnswer {
  return answer(status, 'request.invalid', why);
}
