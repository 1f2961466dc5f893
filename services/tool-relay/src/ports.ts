import type { ErrorId, ZlError } from '@zerolatency/errors';

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Time that never steps, for limits and leases; and the time of day, for credentials and epochs. */
export interface Clock {
  monotonicMs(): number;
  unixMs(): number;
}

export type Endpoint = 'device' | 'link';

/** What is known of a WebSocket before it exists. */
export interface UpgradeRequest {
  readonly endpoint: Endpoint;
  readonly address: string;
  /** Value of the Authorization header, or empty. */
  readonly authorization: string;
}

/** Who will hear the new socket, or the HTTP status that refuses it. */
export type Admission =
  | { readonly listener: SocketListener; readonly refusal?: undefined }
  | { readonly listener?: undefined; readonly refusal: Refusal };

export interface Refusal {
  readonly status: 401 | 403 | 429 | 503;
  readonly error: ZlError;
}

/** One WebSocket. After close() or terminate() nothing of it is heard any more. */
export interface Socket {
  /** Takes the bytes before it returns. Gives the bytes that now wait for the peer. */
  send(bytes: Uint8Array): number;
  ping(): void;
  /** Tells the peer why, after what was sent before. */
  close(code: number, reason: string): void;
  /** Frees everything at once, and tells the peer nothing. */
  terminate(): void;
  readonly queuedBytes: number;
}

export type SocketEnd = 'closed' | 'text_message' | 'too_large';

export interface SocketListener {
  onOpen(socket: Socket): void;
  /** The bytes may be written to, and are gone when this returns. */
  onMessage(bytes: Buffer): void;
  onPong(): void;
  /** Once, unless we ended the socket ourselves. */
  onEnd(end: SocketEnd): void;
  /** The upgrade was admitted, and there was no socket in the end. */
  onAbandoned(): void;
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
  /** A socket on which nothing arrives for this long is cut, should the heartbeat have missed it. */
  readonly idleTimeoutMs: number;
  /** Decides at once: uWebSockets.js cannot take up an upgrade safely once it has read on. */
  readonly admit: (request: UpgradeRequest) => Admission;
  /** An upgrade that failed in a way that is our fault. */
  readonly onFailure: (error: unknown) => void;
}

/** Terminates TLS and WebSockets. */
export interface SocketEngine {
  readonly name: 'uws' | 'ws';
  readonly port: number;
  /** New connections get the certificate as it is now; open ones stay. Throws, and stays as it was. */
  reloadTls(): void;
  /** Cuts what is open. */
  close(): Promise<void>;
}

export type OpenSocketEngine = (options: SocketEngineOptions) => Promise<SocketEngine>;

/** Endpoints by path. */
export const endpointPaths: Readonly<Record<Endpoint, string>> = {
  device: '/v1/device',
  link: '/v1/link',
};

export interface DeviceAddress {
  readonly tenant: string;
  readonly deviceId: string;
}

export interface ProvedDevice extends DeviceAddress {
  /** The credential ends, and with it the session. */
  readonly expiresAtMs: number;
}

/** Checks credential and proof of a hello. Gives device.credential_invalid for what does not hold. */
export interface HelloVerifier {
  verify(hello: {
    readonly credential: string;
    readonly proof: string;
    readonly nonce: Uint8Array;
  }): Promise<ProvedDevice | { readonly error: ZlError }>;
}

/** Knows a host by the Authorization header of its upgrade. */
export interface HostVerifier {
  verify(authorization: string): { readonly name: string } | { readonly error: ZlError };
}

/** What others may be told of a connected device. */
export interface DeviceDescription {
  readonly connectedUnixMs: number;
  readonly bridgeVersion: string;
  /** bridge.v1.Catalog, encoded. */
  readonly catalog: Uint8Array;
}

export interface Lease extends DeviceAddress {
  /** Larger than that of every lease of this device before, also across restarts. */
  readonly epoch: number;
}

export interface Owner extends Lease {
  readonly relayId: string;
  readonly linkUrl: string;
}

export interface DirectoryEntry extends Owner, DeviceDescription {}

/**
 * Which relay pod owns a device. A lease is taken over by whoever acquires
 * next: the device dials, so the newest socket is the true one, and the epoch
 * fences the pod that has not noticed yet. A lease not renewed within its time
 * to live is gone. Every method may fail when its store does; that takes no
 * live session down.
 */
export interface Directory {
  acquire(device: DeviceAddress, description: DeviceDescription): Promise<Lease>;
  /** Gives the leases that are not ours any more. */
  renew(leases: readonly Lease[]): Promise<readonly Lease[]>;
  /** Nothing happens when the device has a newer lease; the same goes for describe. */
  release(lease: Lease): Promise<void>;
  describe(lease: Lease, description: DeviceDescription): Promise<void>;
  locate(device: DeviceAddress): Promise<Owner | undefined>;
  /** In the order of device ids, those after the given one. */
  list(
    tenant: string,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly DirectoryEntry[]>;
}

export type Side = 'host' | 'device';

export type LostReason =
  | 'not_here'
  | 'disconnected'
  | 'slow'
  | 'superseded'
  | 'old_epoch'
  | 'limit'
  | 'draining';

export type SessionEnd =
  | 'disconnected'
  | 'slow'
  | 'silent'
  | 'superseded'
  | 'refused'
  | 'malformed'
  | 'limit'
  | 'draining';

export interface RelayMetrics {
  /** A frame was passed on. */
  passed(from: Side, bytes: number): void;
  refused(from: Side, errorId: ErrorId): void;
  routeLost(reason: LostReason): void;
  sessionEnded(reason: SessionEnd): void;
}
