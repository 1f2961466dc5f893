/** Events of a dialled socket; onClose is called exactly once, whatever happened before. */
export interface SocketEvents {
  onOpen(): void;
  onMessage(bytes: Uint8Array): void;
  /** Called for any other sign of life, such as a ping. */
  onSign(): void;
  onClose(end: SocketEnd): void;
}

/** How frames travel; http_stream is for networks that block WebSockets. */
export type Transport = 'websocket' | 'http_stream';

export interface SocketEnd {
  /** A WebSocket close code; 1006 when the connection broke, 1013 when the relay refused to open the socket. */
  readonly code: number;
  readonly reason: string;
}

export interface RelaySocket {
  /** TLS was opened with whatever answers at the relay's address. */
  readonly isReached: boolean;
  readonly bufferedBytes: number;
  send(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  /** Drops the connection without a close frame. */
  terminate(): void;
}

/** Never throws; onClose reports failures. */
export type Dial = (url: string, events: SocketEvents) => RelaySocket;

export type { Log } from '@zerolatency/service/telemetry';
