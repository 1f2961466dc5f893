import type { Socket } from 'node:net';
import { MAX_FRAME_BYTES } from '@zerolatency/frame';
import { WebSocket } from 'ws';
import type { Dial, RelaySocket, SocketEnd, SocketEvents } from '../../ports.ts';
import { type HttpProxy, Route } from '../proxy/proxies.ts';
import { endOf } from '../refusal.ts';

export interface DialOptions {
  /** PEM text of the authorities whose relays are trusted. */
  readonly ca: string;
  readonly timeoutMs: number;
  readonly proxy?: HttpProxy | undefined;
}

/** Dials over TLS and reads the certificate authority anew each time. */
export function wsDial(options: (url: string) => DialOptions): Dial {
  return (url, events) => {
    const { socket, route, error } = open(url, options(url));
    if (error === undefined) return observed(socket, route, events);
    // Deferred like any other failure: the caller listens once it has the socket.
    setImmediate(() => events.onClose({ code: 1006, reason: error.message }));
    return NO_SOCKET;
  };
}

const NO_SOCKET: RelaySocket = {
  isReached: false,
  bufferedBytes: 0,
  send() {},
  close() {},
  terminate() {},
};

type Opened =
  | { readonly socket: WebSocket; readonly route: Route; readonly error?: undefined }
  | { readonly socket?: undefined; readonly route?: undefined; readonly error: Error };

function open(url: string, { ca, timeoutMs, proxy }: DialOptions): Opened {
  // TLS would take an empty list as all public authorities.
  if (ca === '') return { error: new Error('relay.caFile is empty or cannot be read') };
  try {
    const route = new Route(proxy);
    const socket = new WebSocket(url, {
      ca,
      agent: route.agent(false),
      finishRequest: (request) => {
        route.follow(request);
        request.end();
      },
      minVersion: 'TLSv1.2',
      handshakeTimeout: timeoutMs,
      maxPayload: MAX_FRAME_BYTES,
      // Frames are small or already dense, and a compressor costs memory per socket.
      perMessageDeflate: false,
      followRedirects: false,
    });
    return { socket, route };
  } catch (reason) {
    // The URL parses but is not a WebSocket address.
    return { error: reason instanceof Error ? reason : new Error(String(reason)) };
  }
}

function observed(socket: WebSocket, route: Route, events: SocketEvents): RelaySocket {
  let why = '';
  let refusal: SocketEnd | undefined;
  let stream: Socket | undefined;
  socket.on('upgrade', (response) => {
    stream = response.socket;
  });
  socket.on('unexpected-response', (_request, response) => {
    void endOf(response).then((end) => {
      refusal = end;
      socket.terminate();
    });
  });
  socket.on('open', () => events.onOpen());
  socket.on('ping', () => events.onSign());
  socket.on('pong', () => events.onSign());
  socket.on('message', (data, isBinary) => {
    if (isBinary && Buffer.isBuffer(data)) events.onMessage(data);
    else socket.close(1003, 'binary messages only');
  });
  socket.on('error', (error) => {
    why = error.message;
  });
  socket.on('close', (code, reason) => {
    route.end();
    if (refusal?.code === 1013) events.onClose(refusal);
    else {
      const broken = route.explain(refusal?.reason ?? why);
      events.onClose({ code, reason: reason.toString('utf8') || broken });
    }
  });
  return {
    get isReached() {
      return route.isReached;
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: (bytes) => {
      if (stream !== undefined) gather(stream);
      socket.send(bytes);
    },
    close: (code, reason) => socket.close(code, reason),
    terminate: () => socket.terminate(),
  };
}

const corked = new WeakSet<Socket>();

/** Puts the frames of one event-loop turn into one write and one TLS record. */
function gather(stream: Socket): void {
  if (corked.has(stream)) return;
  corked.add(stream);
  stream.cork();
  queueMicrotask(() => {
    corked.delete(stream);
    stream.uncork();
  });
}
