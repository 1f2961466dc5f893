import type { TemplatedApp, us_listen_socket, WebSocketBehavior } from 'uWebSockets.js';
import { ZlError } from '@zerolatency/errors';
import {
  type Endpoint,
  endpointPaths,
  type SocketEngine,
  type SocketEngineOptions,
} from '../../ports.ts';
import { deliver } from '../deliver.ts';
import { claimPort } from './claim-port.ts';
import { loadNative, type NativeUws } from './native.ts';
import { Outbox } from './outbox.ts';
import type { UserData } from './socket.ts';
import { refuseUnknownPath, upgradeHandler } from './upgrade.ts';

/** uWebSockets.js counts in whole seconds, and takes none between 0 and 8. */
const MIN_IDLE_TIMEOUT_S = 8;
const MAX_IDLE_TIMEOUT_S = 960;
/** uWebSockets.js cuts what is larger without a close frame; up to here we tell why. */
const TOLD_FACTOR = 2;
/** What it names the reason of a cut for size. */
const TOO_BIG = 'Received too big message';

interface Listening {
  readonly app: TemplatedApp;
  readonly socket: us_listen_socket;
}

export async function openUwsEngine(options: SocketEngineOptions): Promise<SocketEngine> {
  const native = await loadNative();
  if (native === undefined) {
    throw new ZlError('config.invalid', 'sockets.engine uws has no binary here; use ws or auto');
  }
  const port = await claimPort(options.host, options.port);
  const outbox = new Outbox();
  // Sockets live in the app that took them, so every app stays until the end.
  const apps: Listening[] = [listen(native, { ...options, port }, outbox)];
  return {
    name: 'uws',
    port,
    reloadTls: () => {
      const previous = apps.at(-1);
      // The new one listens first: no moment without a listener.
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
  // Throws when it cannot use the pair.
  const app = native.SSLApp({ cert_file_name: certFile, key_file_name: keyFile });
  for (const endpoint of ['device', 'link'] as const) {
    app.ws(endpointPaths[endpoint], behaviour(endpoint, options, outbox));
  }
  app.any('/*', refuseUnknownPath);
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
    maxPayloadLength: TOLD_FACTOR * maxMessageBytes,
    // Bounded by those who send, who know what to do about it.
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
      // What arrives after we have decided to close.
      if (!peer.isOpen) return;
      if (!isBinary) {
        peer.close(1003, 'frame.malformed');
        peer.listener.onEnd('text_message');
      } else if (message.byteLength > maxMessageBytes) {
        peer.close(1009, 'frame.too_large');
        peer.listener.onEnd('too_large');
      } else {
        deliver({ socket: peer, listener: peer.listener }, Buffer.from(message), options.onFailure);
      }
    },
    ping: (native) => {
      const { peer } = native.getUserData();
      if (!peer.isOpen || peer.pinged()) return;
      peer.terminate();
      peer.listener.onEnd('closed');
    },
    pong: (native) => {
      const { peer } = native.getUserData();
      if (peer.isOpen) peer.listener.onPong();
    },
    drain: (native) => native.getUserData().peer.drained(),
    close: (native, code, message) => {
      const { peer } = native.getUserData();
      if (!peer.closed()) return;
      const isTooBig = code === 1006 && Buffer.from(message).toString('latin1') === TOO_BIG;
      peer.listener.onEnd(isTooBig ? 'too_large' : 'closed');
    },
  };
}
