import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import { reloadServerTls, serverTlsOptions } from '@zerolatency/service/tls';
import { WebSocketServer } from 'ws';
import type { SocketEngine, SocketEngineOptions } from '../../ports.ts';
import { refusalBody } from '../refusal.ts';
import { unknownPath, upgradeHandler } from './upgrade.ts';

/** What a peer may take until its upgrade is asked for. */
const REQUEST_TIMEOUT_MS = 10_000;
/** A token and its certificate chain, with room for what proxies add. */
const MAX_HEADER_BYTES = 16 * 1024;
/** How long a peer may keep a socket that we have closed. */
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
      // Node looks only every 30 s by itself.
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS / 10,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (_request, response) => {
      const { status, id, message } = unknownPath();
      response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
      response.end(refusalBody(id, message));
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
    // Text is refused whatever it says.
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
