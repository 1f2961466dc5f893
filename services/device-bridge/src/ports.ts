/** What a dialled socket tells; onClose comes exactly once, whatever happened before. */
export interface SocketEvents {
  onOpen(): void;
  onMessage(bytes: Uint8Array): void;
  /** Anything else that shows that the peer lives. */
  onSign(): void;
  onClose(end: SocketEnd): void;
}

export interface SocketEnd {
  /** As WebSocket has it; 1006 where the connection broke. */
  readonly code: number;
  readonly reason: string;
}

export interface RelaySocket {
  readonly bufferedBytes: number;
  send(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  /** Drops it without a word. */
  terminate(): void;
}

/** Never throws; what goes wrong is told by onClose. */
export type Dial = (url: string, events: SocketEvents) => RelaySocket;

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
