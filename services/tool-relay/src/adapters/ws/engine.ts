import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { reloadServerTls, serverTlsOptions } from '@zerolatency/service/tls';
import { WebSocketServer } from 'ws';
import {
  ENDPOINT_PATHS,
  type Endpoint,
  type SocketEngine,
  type SocketEngineOptions,
  type SocketListener,
} from '../../sockets/socket-engine.ts';
import { HttpStreams } from '../http-stream/http-streams.ts';
import {
  INTERNAL_ERROR,
  originOf,
  refusalAnswer,
  UNKNOWN_PATH,
  type UpgradeAnswer,
} from '../socket-engine.ts';
import { Acceptor } from './acceptor.ts';
import { Arrivals } from './arrivals.ts';
import { WsSocket } from './socket.ts';

/** The arrival ends a slow handshake or request; this is for requests that are refused. */
const REQUEST_TIMEOUT_MS = 10_000;
/** A POST that is read more slowly waits for up to a minute (limits/pace.ts). */
const POST_TIMEOUT_MS = 90_000;
/** A peer token with its certificate chain, and room for headers that proxies add. */
const MAX_HEADER_BYTES = 16 * 1024;
/** The time a peer has to answer our close frame. */
const CLOSE_TIMEOUT_MS = 2_000;
/** ws refuses larger messages unread and gives no reason; up to this factor we give one. */
const CLOSE_REASON_FACTOR = 2;
/** Proxies may send a message in parts. Empty parts cost us time and the sender nothing. */
const MAX_FRAGMENTS = 64;

export async function openWsEngine(options: SocketEngineOptions): Promise<SocketEngine> {
  const { tls } = options;
  const server = createServer(
    {
      ...serverTlsOptions(tls.current(), { requireClient: false }),
      handshakeTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: POST_TIMEOUT_MS,
      // The connection of a stream's POSTs lives as long as the stream.
      keepAliveTimeout: options.idleTimeoutMs,
      // Node's default is every 30 s.
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 10,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => streams.handle(request, response),
  );
  const sockets = new WebSocketServer(socketOptions(options));
  const arrivals = new Arrivals(options);
  const streams = new HttpStreams({ ...options, arrivalOf: (peer) => arrivals.of(peer) });
  server.on('upgrade', upgradeHandler({ server: sockets, arrivals, streams, options }));
  const acceptor = await Acceptor.open({
    ...options,
    onConnection: (connection) =>
      arrivals.begin(connection, () => server.emit('connection', connection)),
  });
  return {
    name: 'ws',
    port: acceptor.port,
    reloadTls: () => reloadServerTls(server, tls.current()),
    close: async () => {
      for (const socket of sockets.clients) socket.terminate();
      streams.close();
      await acceptor.close();
    },
  };
}

function socketOptions({ maxMessageBytes }: SocketEngineOptions) {
  return {
    noServer: true,
    perMessageDeflate: false,
    maxPayload: CLOSE_REASON_FACTOR * maxMessageBytes,
    maxFragments: MAX_FRAGMENTS,
    closeTimeout: CLOSE_TIMEOUT_MS,
    // Text messages are refused unread.
    skipUTF8Validation: true,
  };
}

type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

interface Upgrades {
  readonly server: WebSocketServer;
  readonly arrivals: Arrivals;
  readonly streams: HttpStreams;
  readonly options: SocketEngineOptions;
}

function upgradeHandler(upgrades: Upgrades): UpgradeHandler {
  const { arrivals, streams, options } = upgrades;
  return (request, socket, head) => {
    socket.on('error', ignore);
    const endpoint = endpointOf(request);
    const arrived = arrivals.of(request.socket);
    const isOwnConnection = !streams.hasServed(request.socket);
    if (endpoint === undefined || arrived === undefined || !isOwnConnection) {
      refuse(socket, UNKNOWN_PATH);
      return;
    }
    const { authorization = '' } = request.headers;
    const { arrival } = arrived;
    const origin = originOf(options.balancers, {
      ...arrived,
      forwardedFor: request.headersDistinct['x-forwarded-for']?.join(',') ?? '',
    });
    if ('refusal' in origin) {
      refuse(socket, origin.refusal);
      return;
    }
    const { address } = origin;
    try {
      const { listener, refusal } = options.admit({ arrival, endpoint, address, authorization });
      if (listener !== undefined) accept({ request, socket, head }, listener, upgrades);
      else refuse(socket, refusalAnswer(refusal));
    } catch (error) {
      options.onFailure(error);
      refuse(socket, INTERNAL_ERROR);
    }
  };
}

interface Handshake {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

function accept(
  { request, socket, head }: Handshake,
  listener: SocketListener,
  { server, options }: Upgrades,
): void {
  const abandon = () => listener.onAbandoned();
  // ws answers a bad handshake itself and then never calls back.
  socket.once('close', abandon);
  server.handleUpgrade(request, socket, head, (native) => {
    socket.off('close', abandon);
    socket.off('error', ignore);
    request.socket.setTimeout(options.idleTimeoutMs, () => native.terminate());
    const peer = new WsSocket(native, listener, options);
    // Before ws reads the same bytes.
    request.socket.prependListener('data', ({ length }: Buffer) => peer.read(length));
    peer.opened();
  });
}

function endpointOf(request: IncomingMessage): Endpoint | undefined {
  const path = request.url?.split('?', 1)[0];
  return (['device', 'link'] as const).find((endpoint) => ENDPOINT_PATHS[endpoint] === path);
}

function refuse(socket: Duplex, { status, reasonPhrase, body }: UpgradeAnswer): void {
  const head = [
    `HTTP/1.1 ${status} ${reasonPhrase}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function ignore(): void {
  // A connection may break before it becomes a socket; nobody depends on it yet.
}
