import type { Dial, RelaySocket, SocketEvents } from '../ports.ts';

const nobody: SocketEvents = { onOpen() {}, onMessage() {}, onSign() {}, onClose() {} };

/** One socket, heard by one state at a time. */
export interface Wire extends RelaySocket {
  readonly relay: string;
  /** The new listener hears everything from now on, and the one before nothing. */
  listen(events: Partial<SocketEvents>): void;
  /** Nobody hears it any more, and it is gone. */
  drop(): void;
}

export function openWire(dial: Dial, relay: string): Wire {
  let listener = nobody;
  const socket = dial(relay, {
    onOpen: () => listener.onOpen(),
    onMessage: (bytes) => listener.onMessage(bytes),
    onSign: () => listener.onSign(),
    onClose: (end) => listener.onClose(end),
  });
  return {
    relay,
    get bufferedBytes() {
      return socket.bufferedBytes;
    },
    send: (bytes) => socket.send(bytes),
    close: (code, reason) => socket.close(code, reason),
    terminate: () => socket.terminate(),
    listen(events) {
      listener = { ...nobody, ...events };
    },
    drop() {
      listener = nobody;
      socket.terminate();
    },
  };
}
