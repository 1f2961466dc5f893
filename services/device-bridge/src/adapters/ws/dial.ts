import type { Socket } from 'node:net';
import { MAX_FRAME_BYTES } from '@zerolatency/frame';
import { WebSocket } from 'ws';
import type { Dial, RelaySocket, SocketEvents } from '../../ports.ts';

interface DialOptions {
  /** PEM text of the authorities whose relays are trusted. */
  readonly ca: string;
  readonly timeoutMs: number;
}

/** Dials over TLS and reads the certificate authority anew each time. */
export function wsDial(options: () => DialOptions): Dial {
  return (url, events) => {
    const { socket, error } = open(url, options());
    if (error === undefined) return observed(socket, events);
    // Deferred like any other failure: the caller listens once it has the socket.
    setImmediate(() => events.onClose({ code: 1006, reason: error.message }));
    return NO_SOCKET;
  };
}

const NO_SOCKET: RelaySocket = { bufferedBytes: 0, send() {}, close() {}, terminate() {} };

type Opened =
  | { readonly socket: WebSocket; readonly error?: undefined }
  | { readonly socket?: undefined; readonly error: Error };

function open(url: string, { ca, timeoutMs }: DialOptions): Opened {
  // TLS would take an empty list as all public authorities.
  if (ca === '') return { error: new Error('relay.caFile is empty or cannot be read') };
  try {
    const socket = new WebSocket(url, {
      ca,
      minVersion: 'TLSv1.2',
      handshakeTimeout: timeoutMs,
      maxPayload: MAX_FRAME_BYTES,
      // Frames are small or already dense, and a compressor costs memory per socket.
      perMessageDeflate: false,
      followRedirects: false,
    });
    return { socket };
  } catch (reason) {
    // The URL parses but is not a WebSocket address.
    return { error: reason instanceof Error ? reason : new Error(String(reason)) };
  }
}

function observed(socket: WebSocket, events: SocketEvents): RelaySocket {
  let why = '';
  let stream: Socket | undefined;
  socket.on('upgrade', (response) => {
    stream = response.socket;
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
    events.onClose({ code, reason: reason.toString('utf8') || why });
  });
  return {
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
