/** Events of a dialled socket; onClose is called exactly once, whatever happened before. */
export interface SocketEvents {
  onOpen(): void;
  onMessage(bytes: Uint8Array): void;
  /** Called for any other sign of life, such as a ping. */
  onSign(): void;
  onClose(end: SocketEnd): void;
}

export interface SocketEnd {
  /** A WebSocket close code; 1006 when the connection broke. */
  readonly code: number;
  readonly reason: string;
}

export interface RelaySocket {
  readonly bufferedBytes: number;
  send(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  /** Drops the connection without a close frame. */
  terminate(): void;
}

/** Never throws; onClose reports failures. */
export type Dial = (url: string, events: SocketEvents) => RelaySocket;

export type { Log } from '@zerolatency/service/telemetry';
