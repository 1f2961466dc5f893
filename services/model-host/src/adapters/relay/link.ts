import { create, toBinary } from '@bufbuild/protobuf';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameKind,
  isKnownKind,
  NO_CALL,
  NO_PAYLOAD,
  RENEWAL_FEATURE,
  readMessage,
} from '@zerolatency/frame';
import { OpenSchema, RouteLostReason, RouteLostSchema } from '@zerolatency/proto/link';
import { Backoff } from '@zerolatency/service/backoff';
import type { RelayLimits } from './limits.ts';
import { type LinkCredentials, LinkSocket } from './link-socket.ts';

/** What this host reads of a relay. */
const FEATURES = [RENEWAL_FEATURE];

export interface RelayMetrics {
  linksOpen(change: 1 | -1): void;
  linkRoundTrip(ms: number): void;
  /** A device's clock was read: what it is ahead of ours. */
  deviceSkew(aheadMs: number): void;
  /** The kind of a frame is not one this release knows. */
  frameIgnored(): void;
}

export interface LinkUser {
  readonly tenant: string;
  readonly deviceId: string;
  onFrame(frame: Frame): void;
  /** The handle is gone; no frame follows. */
  onLost(reason: ZlError): void;
}

export interface LinkOptions {
  readonly url: string;
  readonly credentials: () => Promise<LinkCredentials>;
  readonly limits: RelayLimits;
  readonly metrics: RelayMetrics;
  /** Closed, because no device was open on it for a while. */
  readonly onIdle: () => void;
  readonly onState: (state: LinkState['name'], reason?: ZlError) => void;
}

/**
 *   idle -> dialling -> live -> lost -> dialling ...
 *
 * It dials when a route asks for it, after a loss no sooner than its backoff
 * allows. Draining is live: a device can be opened there until it has moved.
 */
export type LinkState =
  | { readonly name: 'idle' }
  | { readonly name: 'dialling'; socket?: LinkSocket }
  | { readonly name: 'live'; readonly socket: LinkSocket }
  | { readonly name: 'draining'; readonly socket: LinkSocket }
  | Lost
  | { readonly name: 'closed' };

interface Lost {
  readonly name: 'lost';
  readonly retryAtMs: number;
  readonly reason: ZlError;
}

/** The one connection between this host and a relay pod, shared by all calls to its devices. */
export class Link {
  readonly url: string;
  readonly #options: LinkOptions;
  readonly #users = new Map<number, LinkUser>();
  #state: LinkState = { name: 'idle' };
  #lastHandle = 0;
  readonly #backoff: Backoff;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: LinkOptions) {
    this.url = options.url;
    this.#options = options;
    this.#backoff = new Backoff(options.limits.retry);
  }

  get state(): LinkState['name'] {
    return this.#state.name;
  }

  /** Live, perhaps draining. */
  get isUp(): boolean {
    return isUp(this.#state);
  }

  get handles(): number {
    return this.#users.size;
  }

  /** Opens a device as soon as the link is live, unless the link has to wait before it dials again. */
  attach(user: LinkUser): { handle: number } | { error: ZlError; retryInMs: number } {
    const state = this.#state;
    if (state.name === 'closed') {
      const message = `the link to ${this.url} is closed`;
      return { error: new ZlError('relay.unreachable', message), retryInMs: 0 };
    }
    if (state.name === 'lost') {
      const leftMs = state.retryAtMs - performance.now();
      if (leftMs > 0) return { error: state.reason, retryInMs: leftMs };
    }
    this.#lastHandle += 1;
    const handle = this.#lastHandle;
    this.#users.set(handle, user);
    clearTimeout(this.#idleTimer);
    if (isUp(state)) this.#sendOpen(handle, user);
    else if (state.name === 'idle' || state.name === 'lost') this.#dial();
    return { handle };
  }

  detach(handle: number): void {
    if (!this.#users.delete(handle)) return;
    this.send(deviceFrame(FrameKind.CLOSE, handle, NO_PAYLOAD));
    this.#rest();
  }

  send(frame: Frame): void {
    const state = this.#state;
    if (state.name === 'live' || state.name === 'draining') state.socket.send(encodeFrame(frame));
  }

  close(): void {
    const state = this.#state;
    clearTimeout(this.#idleTimer);
    this.#setState({ name: 'closed' });
    if ('socket' in state) state.socket?.close();
    this.#dropUsers(new ZlError('server.draining', 'this host is shutting down'));
  }

  #dial(): void {
    const state: LinkState & { name: 'dialling' } = { name: 'dialling' };
    this.#setState(state);
    const { url, credentials, limits, metrics } = this.#options;
    const dial = async () => {
      const material = await credentials();
      if (this.#state !== state) return;
      state.socket = new LinkSocket({
        url,
        credentials: material,
        limits,
        events: {
          onOpen: () => this.#onOpen(state.socket),
          onMessage: (bytes) => this.#onMessage(bytes),
          onRoundTrip: (ms) => metrics.linkRoundTrip(ms),
          onClosed: (reason) => this.#onClosed(reason),
        },
      });
    };
    // The turn that needs the link first must not lend its trace to whatever happens on it later.
    context.with(ROOT_CONTEXT, dial).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : 'failed';
      const message = `no credentials, or no address to dial, for ${url}: ${why}`;
      const reason = new ZlError('relay.unreachable', message, { cause });
      if (this.#state === state) this.#onClosed(reason);
    });
  }

  #onOpen(socket: LinkSocket | undefined): void {
    if (this.#state.name !== 'dialling' || socket === undefined) return;
    this.#setState({ name: 'live', socket });
    for (const [handle, user] of this.#users) this.#sendOpen(handle, user);
  }

  #sendOpen(handle: number, { tenant, deviceId }: LinkUser): void {
    const payload = toBinary(
      OpenSchema,
      create(OpenSchema, { tenant, deviceId, features: FEATURES }),
    );
    this.send(deviceFrame(FrameKind.OPEN, handle, payload));
  }

  #onMessage(bytes: Uint8Array): void {
    const decoded = decodeFrame(bytes);
    const state = this.#state;
    if (state.name !== 'live' && state.name !== 'draining') return;
    if (decoded.error !== undefined) {
      state.socket.destroy(decoded.error.message);
      return;
    }
    const { frame } = decoded;
    if (!isKnownKind(frame.kind)) {
      this.#options.metrics.frameIgnored();
      return;
    }
    if (frame.kind === FrameKind.DRAIN) {
      this.#setState({ name: 'draining', socket: state.socket });
      return;
    }
    const user = this.#users.get(frame.device);
    // Frames to a handle that was just closed may still arrive.
    if (user === undefined) return;
    if (frame.kind !== FrameKind.ROUTE_LOST) {
      user.onFrame(frame);
      return;
    }
    this.#users.delete(frame.device);
    this.#rest();
    user.onLost(routeLostError(frame.payload, user.deviceId));
  }

  /** Closes the link after a while without a device, whether it is up or was lost. */
  #rest(): void {
    if (this.#users.size > 0 || this.#state.name === 'closed') return;
    clearTimeout(this.#idleTimer);
    const end = () => {
      this.close();
      this.#options.onIdle();
    };
    this.#idleTimer = setTimeout(end, this.#options.limits.linkIdleMs);
    this.#idleTimer.unref();
  }

  #onClosed(reason: ZlError): void {
    if (this.#state.name === 'closed') return;
    // A link that was up is dialled again soon; one that never came up waits longer each time.
    if (this.#state.name !== 'dialling') this.#backoff.reset();
    const retryAtMs = performance.now() + this.#backoff.nextMs();
    this.#setState({ name: 'lost', retryAtMs, reason }, reason);
    this.#dropUsers(reason);
  }

  #dropUsers(reason: ZlError): void {
    const users = [...this.#users.values()];
    this.#users.clear();
    this.#rest();
    for (const user of users) user.onLost(reason);
  }

  #setState(state: LinkState, reason?: ZlError): void {
    const { metrics } = this.#options;
    if (isUp(state) !== isUp(this.#state)) metrics.linksOpen(isUp(state) ? 1 : -1);
    this.#state = state;
    this.#options.onState(state.name, reason);
  }
}

function isUp({ name }: LinkState): boolean {
  return name === 'live' || name === 'draining';
}

/** A frame about a device as a whole. */
function deviceFrame(kind: FrameKind, device: number, payload: Uint8Array): Frame {
  return { kind, flags: 0, device, callId: NO_CALL, offset: 0, epoch: 0, payload };
}

const REASONS: Readonly<Record<RouteLostReason, string>> = {
  [RouteLostReason.UNSPECIFIED]: 'the relay gave no reason',
  [RouteLostReason.NOT_HERE]: 'it holds no connection there',
  [RouteLostReason.DISCONNECTED]: 'its connection closed',
  [RouteLostReason.SLOW]: 'it reads too slowly',
  [RouteLostReason.SUPERSEDED]: 'it connected elsewhere',
  [RouteLostReason.OLD_EPOCH]: 'its lease is over',
  [RouteLostReason.LIMIT]: 'this host holds as many devices there as it may',
  [RouteLostReason.DRAINING]: 'the relay is shutting down',
  [RouteLostReason.REVOKED]: 'it was revoked',
};

const LOST_IDS: Readonly<Partial<Record<RouteLostReason, ErrorId>>> = {
  [RouteLostReason.LIMIT]: 'limit.exceeded',
  [RouteLostReason.REVOKED]: 'device.revoked',
};

/** Why a device cannot be reached through the relay that said so. */
function routeLostError(payload: Uint8Array, deviceId: string): ZlError {
  const reason = readMessage(RouteLostSchema, payload)?.reason ?? RouteLostReason.UNSPECIFIED;
  return new ZlError(
    LOST_IDS[reason] ?? 'device.offline',
    `${deviceId}: ${REASONS[reason] ?? REASONS[RouteLostReason.UNSPECIFIED]}`,
  );
}
