import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
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
import {
  INTERNAL_ERROR,
  refusalAnswer,
  UNKNOWN_PATH,
  type UpgradeAnswer,
} from '../socket-engine.ts';
import { WsSocket } from './socket.ts';

/** The time a peer has to complete its upgrade request. */
const REQUEST_TIMEOUT_MS = 10_000;
/** A peer token with its certificate chain, and room for headers that proxies add. */
const MAX_HEADER_BYTES = 16 * 1024;
/** The time a peer has to answer our close frame. */
const CLOSE_TIMEOUT_MS = 2_000;

export async function openWsEngine(options: SocketEngineOptions): Promise<SocketEngine> {
  const { tls } = options;
  const server = createServer(
    {
      ...serverTlsOptions(tls.current(), { requireClient: false }),
      handshakeTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
      // Node's default is every 30 s.
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 10,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (_request, response) => {
      const { status, body } = UNKNOWN_PATH;
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
      response.end(body);
    },
  );
  const sockets = new WebSocketServer(socketOptions(options));
  server.on('upgrade', upgradeHandler(sockets, options));
  server.listen(options.port, options.host);
  await once(server, 'listening');
  return {
    name: 'ws',
    port: portOf(server),
    reloadTls: () => reloadServerTls(server, tls.current()),
    close: () => closeServer(server, sockets),
  };
}

function socketOptions({ maxMessageBytes }: SocketEngineOptions) {
  return {
    noServer: true,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    closeTimeout: CLOSE_TIMEOUT_MS,
    // Text messages are refused unread.
    skipUTF8Validation: true,
  };
}

async function closeServer(server: Server, sockets: WebSocketServer): Promise<void> {
  for (const socket of sockets.clients) socket.terminate();
  if (!server.listening) return;
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

function upgradeHandler(server: WebSocketServer, options: SocketEngineOptions): UpgradeHandler {
  return (request, socket, head) => {
    socket.on('error', ignore);
    const endpoint = endpointOf(request);
    if (endpoint === undefined) {
      refuse(socket, UNKNOWN_PATH);
      return;
    }
    const { authorization = '' } = request.headers;
    const address = request.socket.remoteAddress ?? '';
    try {
      const { listener, refusal } = options.admit({ endpoint, address, authorization });
      if (listener !== undefined) accept({ request, socket, head }, listener, { server, options });
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
  { server, options }: { readonly server: WebSocketServer; readonly options: SocketEngineOptions },
): void {
  const abandon = () => listener.onAbandoned();
  // ws answers a bad handshake itself and then never calls back.
  socket.once('close', abandon);
  server.handleUpgrade(request, socket, head, (native) => {
    socket.off('close', abandon);
    socket.off('error', ignore);
    request.socket.setTimeout(options.idleTimeoutMs, () => native.terminate());
    new WsSocket(native, listener, options.onFailure).opened();
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
