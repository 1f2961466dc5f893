import type {
  HttpRequest,
  HttpResponse,
  SSLApp,
  TemplatedApp,
  us_listen_socket,
  us_listen_socket_close,
  us_socket_local_port,
  WebSocketBehavior,
} from 'uWebSockets.js';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ZlError } from '@zerolatency/errors';
import {
  ENDPOINT_PATHS,
  type Endpoint,
  type SocketEngine,
  type SocketEngineOptions,
} from '../../sockets/socket-engine.ts';
import {
  deliver,
  INTERNAL_ERROR,
  originOf,
  refusalAnswer,
  TOO_MANY_CONNECTIONS,
  UNKNOWN_PATH,
  type UpgradeAnswer,
} from '../socket-engine.ts';
import { Outbox, type UserData, UwsSocket } from './socket.ts';

interface NativeUws {
  readonly SSLApp: typeof SSLApp;
  readonly us_listen_socket_close: typeof us_listen_socket_close;
  readonly us_socket_local_port: typeof us_socket_local_port;
}

/** uWebSockets.js counts in whole seconds and refuses values from 1 to 7. */
const MIN_IDLE_TIMEOUT_S = 8;
const MAX_IDLE_TIMEOUT_S = 960;
/** uWebSockets.js cuts larger messages without a close frame; up to this factor we send one. */
const CLOSE_FRAME_FACTOR = 2;
/** Its reason for a cut because of size. */
const TOO_BIG = 'Received too big message';

interface Listening {
  readonly app: TemplatedApp;
  readonly socket: us_listen_socket;
}

/** Returns undefined where the package has no binary for this platform and Node. */
export async function loadNative(): Promise<NativeUws | undefined> {
  try {
    return await import('uWebSockets.js');
  } catch {
    // The package reports a missing binary by throwing while it loads.
    return undefined;
  }
}

export async function openUwsEngine(options: SocketEngineOptions): Promise<SocketEngine> {
  const native = await loadNative();
  if (native === undefined) {
    throw new ZlError(
      'config.invalid',
      'uWebSockets.js has no binary for this platform; set sockets.engine to ws or auto',
    );
  }
  const port = await claimPort(options.host, options.port);
  const outbox = new Outbox();
  // A socket lives in the app that accepted it, so every app stays until the end.
  const apps: Listening[] = [listen(native, { ...options, port }, outbox)];
  return {
    name: 'uws',
    port,
    reloadTls: () => {
      const previous = apps.at(-1);
      // The new app listens before the old one stops, so that no connection is refused.
      apps.push(listen(native, { ...options, port }, outbox));
      if (previous !== undefined) native.us_listen_socket_close(previous.socket);
    },
    close: async () => {
      outbox.flush();
      for (const { app } of apps.splice(0)) app.close();
    },
  };
}

function listen(native: NativeUws, options: SocketEngineOptions, outbox: Outbox): Listening {
  const { host, port } = options;
  const { certFile, keyFile } = options.tls;
  // Throws when the pair is unusable.
  const app = native.SSLApp({ cert_file_name: certFile, key_file_name: keyFile });
  for (const endpoint of ['device', 'link'] as const) {
    app.ws(ENDPOINT_PATHS[endpoint], behaviour(endpoint, options, outbox));
  }
  app.any('/*', (res) => respond(res, UNKNOWN_PATH));
  let socket: us_listen_socket | false = false;
  app.listen(host, port, (opened) => {
    socket = opened;
  });
  if (socket === false) throw new ZlError('config.invalid', `cannot listen on port ${port}`);
  return { app, socket };
}

function behaviour(
  endpoint: Endpoint,
  options: SocketEngineOptions,
  outbox: Outbox,
): WebSocketBehavior<UserData> {
  const { maxMessageBytes, idleTimeoutMs } = options;
  return {
    maxPayloadLength: CLOSE_FRAME_FACTOR * maxMessageBytes,
    // The senders bound it, as they know what to drop.
    maxBackpressure: 0,
    idleTimeout: Math.min(
      MAX_IDLE_TIMEOUT_S,
      Math.max(MIN_IDLE_TIMEOUT_S, Math.ceil(idleTimeoutMs / 1000)),
    ),
    sendPingsAutomatically: false,
    upgrade: upgradeHandler(endpoint, options, outbox),
    open: (native) => native.getUserData().peer.opened(native),
    message: (native, message, isBinary) => {
      const { peer } = native.getUserData();
      // It may arrive after we decided to close.
      if (!peer.isOpen) return;
      if (!isBinary) {
        peer.close(1003, 'frame.malformed');
        peer.listener.onEnd('text_message');
      } else if (message.byteLength > maxMessageBytes) {
        peer.close(1009, 'frame.too_large');
        peer.listener.onEnd('too_large');
      } else {
        peer.listener.onRead(message.byteLength);
        if (!peer.isOpen) return;
        deliver({ socket: peer, listener: peer.listener }, Buffer.from(message), options.onFailure);
      }
    },
    ping: (native) => {
      const { peer } = native.getUserData();
      if (!peer.isOpen) return;
      if (peer.pinged()) {
        peer.listener.onControl('ping');
      } else {
        peer.terminate();
        peer.listener.onEnd('closed');
      }
    },
    pong: (native) => {
      const { peer } = native.getUserData();
      if (peer.isOpen) peer.listener.onControl('pong');
    },
    drain: (native) => native.getUserData().peer.drained(),
    close: (native, code, message) => {
      const { peer, arrival } = native.getUserData();
      arrival.gone();
      if (!peer.closed()) return;
      const isTooBig = code === 1006 && Buffer.from(message).toString('latin1') === TOO_BIG;
      peer.listener.onEnd(isTooBig ? 'too_large' : 'closed');
    },
  };
}

type UpgradeHandler = NonNullable<WebSocketBehavior<UserData>['upgrade']>;

function upgradeHandler(
  endpoint: Endpoint,
  options: SocketEngineOptions,
  outbox: Outbox,
): UpgradeHandler {
  return (res, req, context) => {
    const header = (name: string) => req.getHeader(`sec-websocket-${name}`);
    const authorization = req.getHeader('authorization');
    const remote = Buffer.from(res.getRemoteAddressAsText()).toString('latin1');
    const forwardedFor = headersOf(req, 'x-forwarded-for');
    try {
      // This is the first that uWebSockets.js shows of a connection, and it cuts a slow one itself.
      const arrival = options.arrive(remote, () => {});
      if (arrival === undefined) {
        respond(res, TOO_MANY_CONNECTIONS);
        return;
      }
      const origin = originOf(options.balancers, { arrival, address: remote, forwardedFor });
      if ('refusal' in origin) {
        arrival.gone();
        respond(res, origin.refusal);
        return;
      }
      const { address } = origin;
      const { listener, refusal } = options.admit({ arrival, endpoint, address, authorization });
      if (listener === undefined) {
        arrival.gone();
        respond(res, refusalAnswer(refusal));
        return;
      }
      const data: UserData = { peer: new UwsSocket(listener, outbox), arrival };
      res.upgrade(data, header('key'), header('protocol'), header('extensions'), context);
    } catch (error) {
      // An exception must not reach native code.
      options.onFailure(error);
      respond(res, INTERNAL_ERROR);
    }
  };
}

/** getHeader() returns only the first of several, and the last is what the nearest balancer wrote. */
function headersOf(req: HttpRequest, wanted: string): string {
  const values: string[] = [];
  req.forEach((name, value) => {
    if (name === wanted) values.push(value);
  });
  return values.join(',');
}

function respond(res: HttpResponse, { status, reasonPhrase, body }: UpgradeAnswer): void {
  res.writeStatus(`${status} ${reasonPhrase}`);
  res.writeHeader('content-type', 'application/json');
  res.end(body, true);
}

/**
 * Returns the port, or a free one for 0. Rejects when the port is taken, which
 * uWebSockets.js would not notice: it shares its port in order to reload.
 */
async function claimPort(host: string, port: number): Promise<number> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : port;
}
