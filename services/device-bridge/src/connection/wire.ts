import type { Dial, RelaySocket, SocketEvents } from '../ports.ts';

const NO_LISTENER: SocketEvents = { onOpen() {}, onMessage() {}, onSign() {}, onClose() {} };

/** One socket with one listening state at a time. */
export interface Wire extends RelaySocket {
  readonly relay: string;
  /** The new listener replaces the one before it. */
  listen(events: Partial<SocketEvents>): void;
  /** Terminates the socket and reports nothing more. */
  drop(): void;
}

export function openWire(dial: Dial, relay: string): Wire {
  let listener = NO_LISTENER;
  const socket = dial(relay, {
    onOpen: () => listener.onOpen(),
    onMessage: (bytes) => listener.onMessage(bytes),
    onSign: () => listener.onSign(),
    onClose: (end) => {
      const { onClose } = listener;
      // A closed socket has nothing more to say to the state that follows.
      listener = NO_LISTENER;
      onClose(end);
    },
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
      listener = { ...NO_LISTENER, ...events };
    },
    drop() {
      listener = NO_LISTENER;
      socket.terminate();
    },
  };
}
