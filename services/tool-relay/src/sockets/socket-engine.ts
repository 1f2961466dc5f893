import type { ErrorId, ZlError } from '@zerolatency/errors';

export type Endpoint = 'device' | 'link';

export const ENDPOINT_PATHS: Readonly<Record<Endpoint, string>> = {
  device: '/v1/device',
  link: '/v1/link',
};

/** A device without WebSockets receives over one response, and sends by POSTs. */
export const STREAM_PATHS = {
  down: `${ENDPOINT_PATHS.device}/down`,
  up: `${ENDPOINT_PATHS.device}/up`,
} as const;

export const TRANSPORTS = ['websocket', 'http_stream'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** Why the relay gives up a peer that has not proved who it is. */
export type ArrivalEnd = 'late' | 'evicted';

/** A peer that has connected and has not proved who it is. */
export interface Arrival {
  /** Ends the peer's socket; returns false when there is none yet, or no longer. */
  endSocket: (why: ArrivalEnd) => boolean;
  /**
   * A balancer has said from where the peer comes, or should have. Returns false when the peer must go.
   */
  named(address: string | undefined): boolean;
  /** From now on the peer has all the time it wants. */
  proved(): void;
  /** The connection is closed. */
  gone(): void;
}

/** What is known about a socket before it exists. */
export interface UpgradeRequest {
  readonly arrival: Arrival;
  readonly endpoint: Endpoint;
  readonly address: string;
  /** Value of the Authorization header, or empty. */
  readonly authorization: string;
}

/** The HTTP answer that refuses an upgrade. */
export interface UpgradeRefusal {
  readonly status: 401 | 403 | 429 | 503;
  readonly error: ZlError;
}

/** The listener of the new socket, or the reason why there is none. */
export type Admission =
  | { readonly listener: SocketListener; readonly refusal?: undefined }
  | { readonly listener?: undefined; readonly refusal: UpgradeRefusal };

/** One WebSocket or HTTP stream. After close() or terminate() its listener hears nothing more. */
export interface Socket {
  readonly transport: Transport;
  /** Takes the bytes before it returns. Returns the number of bytes that now wait for the peer. */
  send(bytes: Uint8Array): number;
  ping(): void;
  /** Sends a close frame with the reason, after everything sent before. */
  close(code: number, reason: string): void;
  /** Frees everything at once, without a close frame. */
  terminate(): void;
  readonly queuedBytes: number;
  /**
   * Stops reading; what has been read is still delivered, pings and pongs wait, and a peer that
   * leaves is noticed later. Returns false where the engine cannot.
   */
  pause(): boolean;
  resume(): void;
}

export type SocketEndReason = 'closed' | 'text_message' | 'too_large' | 'malformed';

export interface SocketListener {
  onOpen(socket: Socket): void;
  /**
   * Bytes have arrived; the messages in them follow. An engine that cannot see this calls it with
   * the size of each message instead.
   */
  onRead(bytes: number): void;
  /** The listener may write to the bytes, and must copy what it keeps. */
  onMessage(bytes: Buffer): void;
  onControl(kind: 'ping' | 'pong'): void;
  /** Called once, unless we ended the socket ourselves. */
  onEnd(end: SocketEndReason): void;
  /** The upgrade was admitted, but the socket never opened. */
  onAbandoned(): void;
}

/** The load balancers that may say for whom they connect, and how they say it. */
export interface Balancers {
  readonly kind: 'none' | 'v2' | 'forwarded-for';
  trusts(address: string): boolean;
  /** Reads X-Forwarded-For. Returns `own` where balancers connect for themselves. */
  forwardedFor(header: string): { readonly address: string } | 'own' | 'unreadable';
}

export interface SocketEngineOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: {
    readonly certFile: string;
    readonly keyFile: string;
    current(): { readonly cert: string; readonly key: string; readonly ca: string };
  };
  readonly maxMessageBytes: number;
  /** At this many connections the engine stops accepting, until some have closed. */
  readonly maxConnections: number;
  readonly balancers: Balancers;
  /** Cuts a socket that stays silent this long, in case the heartbeat misses it. */
  readonly idleTimeoutMs: number;
  /**
   * A peer connects; called as early as the engine can see it. `cut` closes the connection.
   * Returns undefined when the peer must go at once.
   */
  readonly arrive: (address: string, cut: () => void) => Arrival | undefined;
  /** Synchronous: uWebSockets.js cannot resume an upgrade safely after it has read on. */
  readonly admit: (request: UpgradeRequest) => Admission;
  /** A request of an HTTP stream was served, or refused with this error. */
  readonly onStreamRequest: (errorId: ErrorId | 'none') => void;
  /** Receives defects of ours, in an upgrade or in a listener. */
  readonly onFailure: (error: unknown) => void;
  /** Called when the engine stops accepting connections, and when it begins again. */
  readonly onAccepting: (isAccepting: boolean) => void;
}

/** Terminates TLS, WebSockets and, where it can, HTTP streams. */
export interface SocketEngine {
  readonly name: 'uws' | 'ws';
  readonly port: number;
  /** Serves the current certificate to new connections. When it throws, the old one stays. */
  reloadTls(): void;
  /** Cuts all open sockets. */
  close(): Promise<void>;
}

export type OpenSocketEngine = (options: SocketEngineOptions) => Promise<SocketEngine>;
