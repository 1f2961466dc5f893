import {
  constants,
  createServer as createPlainServer,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ZlError } from '@zerolatency/errors';
import { reloadServerTls, serverTlsOptions, type TlsWatch } from '@zerolatency/service/tls';
import { Accepting, spareDescriptors } from './accepting.ts';
import { answerError } from './answer-error.ts';
import { type Connection, type CutReason, UNPROVED_CONCURRENT_STREAMS } from './connection.ts';
import { Connections, type ListenerLimits, type Origin } from './connections.ts';

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined serves cleartext HTTP/2. */
  readonly tls: TlsWatch | undefined;
  /** Every client shows a certificate of our authority. Then there is no HTTP/1.1. */
  readonly requireClient?: boolean;
  /** Every client is asked for a certificate. Returns whether the one of this socket proves who it is. */
  readonly provesClient?: ((socket: TLSSocket) => boolean) | undefined;
  readonly limits: ListenerLimits;
  /** Where load balancers say for whom they connect. */
  readonly origins?: Origins | undefined;
  readonly observer: ListenerObserver;
  /** Whether a request at this path is served only with an access token. */
  readonly needsToken?: (path: string) => boolean;
  readonly handler: (
    request: Http2ServerRequest,
    response: Http2ServerResponse,
  ) => void | Promise<void>;
  /** The sender has been refused so often that its stream is reset without an answer. */
  readonly isSpent?: (authorization: string) => boolean;
  /** Aborted when the server closes: streams that never end by themselves would keep it open. */
  readonly closing?: AbortController;
}

/** Finds out for whom a connection is, before TLS. */
export interface Origins {
  /** Calls back once it knows, or closes the connection. */
  find(socket: Socket, onFound: (origin: Origin) => void): void;
}

export interface ListenerObserver {
  /** A connection or stream was refused or closed; the network is whom it came from. */
  cut(reason: CutReason, network: string): void;
  /** Fewer connections than configured fit into the limit on file descriptors. */
  fewDescriptors(connections: number): void;
  /** False while the process has no file descriptors left. */
  accepting(isAccepting: boolean): void;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  readonly connections: Pick<Connections, 'size' | 'unproved'>;
  readonly isAccepting: boolean;
  /** The connection of a request. */
  connectionOf(request: Http2ServerRequest): Connection | undefined;
  /** Takes no new streams, waits for the open ones, and cuts them at the deadline. */
  close(deadline: AbortSignal): Promise<void>;
}

// Headers, queues and buffers of one connection, in megabytes.
const MAX_SESSION_MEMORY = 32;
// nghttp2 ends the connection for a value beyond this, so the stream alone must end before.
const MAX_HEADER_LIST_BYTES = 64 * 1024;
// A reset overtakes trailers that are still on their way to the socket.
const RESET_AFTER_MS = 1000;
// Node closes slow peers without a word to us; the sweep of the connections is first, and counts them.
const UNCOUNTED_FACTOR = 2;
// TCP notices a peer of HTTP/1.1 that vanished without a word.
const TCP_KEEP_ALIVE_MS = 60_000;

/** HTTP/2, and under TLS HTTP/1.1 as well. */
export async function listen(options: HttpServerOptions): Promise<HttpServer> {
  const { tls, host, observer, requireClient = false, provesClient } = options;
  const limits = { ...options.limits, max: affordable(options) };
  const connections = new Connections({
    limits,
    isProvedByTls: (socket) => requireClient || (provesClient?.(socket) ?? false),
    onCut: (reason, network) => observer.cut(reason, network),
  });
  const server =
    tls === undefined ? createPlainServer(http2Options(limits)) : secureServer(tls, options);
  guard(server, connections, options.origins);
  server.on('request', (request, response) => {
    void serve({ request, response, connection: connections.of(request) }, options);
  });
  const accepting = new Accepting(server, {
    ...options,
    onChange: (isAccepting) => observer.accepting(isAccepting),
  });
  const port = await accepting.start();
  const urlHost = host.includes(':') ? `[${host}]` : host;
  return {
    port,
    url: `${tls === undefined ? 'http' : 'https'}://${urlHost}:${port}`,
    connections,
    get isAccepting() {
      return accepting.isAccepting;
    },
    connectionOf: (request) => connections.of(request),
    close(deadline) {
      options.closing?.abort();
      return connections.close(accepting.close(), deadline);
    },
  };
}

/** Files, relays and providers need descriptors too, and a stranger must not take the last. */
function affordable({ limits, observer }: HttpServerOptions): number {
  const spare = spareDescriptors();
  if (spare >= limits.max) return limits.max;
  observer.fewDescriptors(spare);
  return spare;
}

function http2Options({ maxStreams }: ListenerLimits) {
  const maxConcurrentStreams = Math.min(maxStreams, UNPROVED_CONCURRENT_STREAMS);
  return {
    settings: { maxConcurrentStreams, maxHeaderListSize: MAX_HEADER_LIST_BYTES },
    maxSessionMemory: MAX_SESSION_MEMORY,
  };
}

function secureServer(tls: TlsWatch, options: HttpServerOptions): Http2SecureServer {
  const { requireClient = false, provesClient, limits } = options;
  const askClient = provesClient !== undefined;
  const certificate = serverTlsOptions(tls.current(), { requireClient, askClient });
  const server = createSecureServer({
    ...http2Options(limits),
    ...certificate,
    handshakeTimeout: UNCOUNTED_FACTOR * limits.handshakeMs,
    allowHTTP1: !requireClient,
  });
  // What http.createServer() takes as options; this one only reads the properties.
  Object.assign(server, {
    headersTimeout: UNCOUNTED_FACTOR * limits.handshakeMs,
    // The sweep ends requests that are not complete.
    requestTimeout: 0,
    connectionsCheckingInterval: limits.handshakeMs / 4,
  });
  // The server cannot be collected while the watch holds it, and both end with the program.
  tls.subscribe((material) => reloadServerTls(server, material, { askClient }));
  return server;
}

/** Lets the server see only sockets that are admitted. */
function guard(
  server: Http2Server | Http2SecureServer,
  connections: Connections,
  origins?: Origins,
): void {
  const accept = server.listeners('connection');
  server.removeAllListeners('connection');
  const serveFor = (socket: Socket, origin?: Origin) => {
    if (!connections.admit(socket, origin)) {
      socket.destroy();
      return;
    }
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    for (const listener of accept) listener.call(server, socket);
  };
  server.on('connection', (socket: Socket) => {
    if (origins === undefined) serveFor(socket);
    else origins.find(socket, (origin) => serveFor(socket, origin));
  });
  server.prependListener('secureConnection', (socket: TLSSocket) => connections.secure(socket));
  server.on('session', (session) => connections.open(session));
}

interface Exchange {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly connection: Connection | undefined;
}

async function serve(exchange: Exchange, options: HttpServerOptions): Promise<void> {
  const { request, response, connection } = exchange;
  const { handler, limits, observer, needsToken = () => false, isSpent } = options;
  // HTTP/1.1 has no streams, and one request at a time.
  if (request.stream !== undefined && isSpent?.(request.headers.authorization ?? '')) {
    observer.cut('refused', connection?.network ?? '');
    request.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  endWithResponse(request);
  // What nobody verifies proves nothing.
  const isVerified = request.headers.authorization !== undefined && needsToken(request.url);
  const refusal = connection?.begin(request, response, { isVerified });
  if (connection !== undefined && refusal !== undefined) {
    observer.cut(refusal, connection.network);
    if (refusal === 'flood') connection.destroy();
    else answerError(request, response, tooManyStreams(limits));
    return;
  }
  capDeadline(request.headers);
  try {
    await handler(request, response);
  } catch {
    // Connect throws on an authority that is not a valid URL. Uncaught, any stranger could end the process.
    response.writeHead(400);
    response.end();
  }
}

/** A timer set further ahead than this fires at once, so a deadline in a year would have passed. */
const MAX_TIMER_S = Math.floor((2 ** 31 - 1) / 1000);
const UNIT_SECONDS = new Map(Object.entries({ H: 3600, M: 60, S: 1 }));

function capDeadline(headers: IncomingHttpHeaders): void {
  const { 'grpc-timeout': grpc, 'connect-timeout-ms': connectMs } = headers;
  // The smaller units of gRPC cannot say as much.
  const [, amount, unit = ''] = /^(\d{1,8})([HMS])$/.exec(String(grpc)) ?? [];
  const grpcS = Number(amount) * (UNIT_SECONDS.get(unit) ?? 0);
  if (grpcS > MAX_TIMER_S) headers['grpc-timeout'] = `${MAX_TIMER_S}S`;
  if (Number(connectMs) > MAX_TIMER_S * 1000) {
    headers['connect-timeout-ms'] = String(MAX_TIMER_S * 1000);
  }
}

function tooManyStreams({ maxUnprovedStreams: max }: ListenerLimits): ZlError {
  const why = `${max} streams that show no access token or need none are open on this connection`;
  return new ZlError('limit.exceeded', `${why}, rpc.connections.maxUnprovedStreams is ${max}`);
}

/**
 * A client may still be sending when its RPC has ended. RFC 9113 section 8.1
 * has the server reset such a stream without error; otherwise it stays open for
 * as long as the client likes.
 */
function endWithResponse({ stream }: Http2ServerRequest): void {
  // Node resets a stream whose request nobody read as soon as it is answered,
  // and curl then calls a refusal a broken connection (error 92).
  stream?.once('prefinish', () => stream.resume());
  // HTTP/1.1 requests have no stream of their own. The compatible response's
  // own finish event comes when the stream closes, which is what we wait for.
  stream?.once('finish', () => {
    const reset = () => stream.close(constants.NGHTTP2_NO_ERROR);
    const timer = setTimeout(reset, RESET_AFTER_MS);
    stream.once('close', () => clearTimeout(timer));
  });
}
