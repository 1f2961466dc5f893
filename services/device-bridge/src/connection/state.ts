import type { KeyObject } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameKind,
  isKnownKind,
  readMessage,
} from '@zerolatency/frame';
import { type Catalog, DrainSchema, HostSchema, RedirectSchema } from '@zerolatency/proto/bridge';
import type { Backoff } from '@zerolatency/service/backoff';
import type { Dial, RelaySocket, SocketEnd, SocketEvents, Transport } from '../ports.ts';
import type { TransportChoice } from './transport-choice.ts';

/**
 *   idle --> dialling --> proving --> live --> lost --> dialling ...
 *               |            |          |
 *               +--> lost <--+          +--> refused
 *                            +-------------> refused --(something changed)--> dialling
 *
 * When its relay drains, a live state goes on and gets a successor: an attempt that makes the
 * same way to another relay.
 *
 *   live --(DRAIN)--> live + lost --> live + dialling --> live + proving --> live, at the other relay
 *                               ^______________|____________________|
 *
 * The successor becomes live, and the state before it leaves, in one step, so calls go over
 * one socket at any time. When the old socket ends first, its successor takes its place as it is.
 * A relay that does not drain may name the one that the device belongs to (REDIRECT). The successor
 * dials that one, once: if that fails it is given up, and the device stays where it is. A device on an
 * HTTP stream tries a WebSocket to its relay in the same way, again and again.
 *
 * closed is reachable from any of them and final.
 */
export type ConnectionState =
  | (Leaving & { readonly name: 'idle' })
  | (Leaving & { readonly name: 'closed' })
  | Attempt
  | LiveState;

/** On the way to a relay; carries no calls. */
export type Attempt =
  | (Leaving & { readonly name: 'dialling' | 'proving'; readonly wire: Wire })
  | (Leaving & { readonly name: 'lost'; readonly why: string; readonly retryInMs: number })
  | (Leaving & { readonly name: 'refused'; readonly error: ZlError });

interface Leaving {
  /** Clears the timers that the state owns; its wire may pass to the next state. */
  leave(): void;
}

export interface LiveState extends Leaving {
  readonly name: 'live';
  readonly wire: Wire;
  readonly epoch: number;
  /** What the device's time of day was ahead of the relay's; undefined when the relay does not state it. */
  readonly skewMs: number | undefined;
  /** What the relay speaks. */
  readonly features: readonly string[];
  /** Set once the relay drains or redirects. */
  successor: Attempt | undefined;
  /** The relay will close the socket, so the device must have another one. */
  isDraining: boolean;
  send(frame: Frame): void;
}

/** Every state is built with it. */
export interface Machine {
  readonly deps: ConnectionDeps;
  readonly backoff: Backoff;
  readonly transports: TransportChoice;
  /** The relays take turns. */
  nextRelay(): string;
  /** A relay has redirected the device since it was last live, or drains. */
  noRedirect(): boolean;
  /** The largest under which the device was live; 0 before the first. */
  lastEpoch(): number;
  takeNoRedirect(): void;
  /** Undefined where the redirect must not be followed: at most one is, until the device is live. */
  follow(redirect: Frame, relay: string): Redirection | undefined;
  /** Has no effect when `from` was left: it is neither the connection's state nor the successor. */
  change(from: Attempt | LiveState, build: () => Attempt | LiveState): void;
  /** Changes to dialling: the given relay, or the next one; the given transport, or the chosen one. */
  redial(from: Attempt, target: Target): void;
  /** Gives a live state its successor, unless it has one. */
  moveOn(from: LiveState, build: () => Attempt): void;
}

export interface ConnectionDeps {
  readonly relays: readonly string[];
  readonly dials: Readonly<Record<Transport, Dial>>;
  readonly clock: ConnectionClock;
  readonly random: () => number;
  readonly journalId: Uint8Array;
  /** The largest epoch that the journal remembers. */
  readonly lastEpoch: number;
  readonly bridgeVersion: string;
  /** What this bridge speaks beside the features of every bridge. */
  readonly features?: readonly string[];
  readonly limits: ConnectionLimits;
  loadIdentity(): Promise<DeviceCredentials>;
  catalog(): Catalog;
  readonly listener: ConnectionListener;
}

export interface DeviceCredentials {
  /** JWS by the enrolment authority. */
  readonly credential: string;
  readonly key: KeyObject;
}

export interface ConnectionLimits {
  /** For dialling, and again for proving. */
  readonly handshakeMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Written and not yet taken by the network; a relay that reads more slowly is dropped. */
  readonly maxBufferedBytes: number;
  /** How often a device on an HTTP stream tries a WebSocket. */
  readonly retryWebSocketMs: number;
}

export interface ConnectionClock {
  /** The time of day, which dates proofs. */
  nowMs(): number;
  /** Never steps back: setting the clock must not make a dead relay seem alive. */
  monotonicMs(): number;
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface ConnectionListener {
  onLive(epoch: number): void;
  onLost(): void;
  /** `host` is the name of the host that sent it; empty where the relay names none. */
  onFrame(frame: Frame, host: string): void;
  /** The relay answers a RENEW. */
  onCredential(frame: Frame): void;
  /** The kind of a frame is not one this release knows. */
  onIgnored(): void;
  onState(state: ConnectionState): void;
  /** The relay `from` redirected the device; `to` is undefined when that is not followed. */
  onRedirect(from: string, to: string | undefined): void;
  /** Called once for each attempt to reach a relay. */
  onAttempt(outcome: 'live' | 'failed' | 'refused'): void;
}

export function describeEnd({ code, reason }: SocketEnd): string {
  return `the relay closed the socket: ${code}${reason === '' ? '' : ` ${reason}`}`;
}

/** What is dialled where it is not the next relay over the chosen transport. */
export interface Target {
  readonly relay?: string | undefined;
  readonly transport?: Transport;
}

interface Loss extends Target {
  readonly why: string;
  /** Set when nothing failed; otherwise a backoff. */
  readonly retryInMs?: number;
}

export function lost(machine: Machine, { why, retryInMs: given, ...target }: Loss): Attempt {
  const { clock } = machine.deps;
  const retryInMs = given ?? machine.backoff.nextMs();
  const timer = clock.setTimeout(() => machine.redial(state, target), retryInMs);
  const leave = () => clock.clearTimeout(timer);
  const state: Attempt = { name: 'lost', why, retryInMs, leave };
  return state;
}

/** Waits until something changes: a refused credential stays refused. */
export function refused(error: ZlError): Attempt {
  return { name: 'refused', error, leave: () => {} };
}

/** A relay closes with these when no later attempt of the same device can succeed. */
const REFUSAL_CODES: ReadonlySet<number> = new Set([4401, 4403]);

export function refusalOf({ code, reason }: SocketEnd): ZlError | undefined {
  if (reason.startsWith('device.revoked')) {
    return new ZlError('device.revoked', `the relay says that this device was revoked (${code})`);
  }
  if (!REFUSAL_CODES.has(code) && !reason.startsWith('device.credential_invalid')) return undefined;
  const message = `the relay refuses this device's credential (${code} ${reason})`;
  return new ZlError('device.credential_invalid', message);
}

interface Terms extends Pick<LiveState, 'epoch' | 'skewMs' | 'features'> {
  readonly heartbeatMs: number;
}

/** For a relay that names none, so that a dead socket is still noticed. */
const DEFAULT_HEARTBEAT_MS = 30_000;
/** Far below the longest timer of Node, which would fire at once beyond it. */
const MAX_HEARTBEAT_MS = 24 * 60 * 60 * 1000;
/** A connection that lasted this long, or carried a call, was not part of a repeating failure. */
const PROVEN_AFTER_MS = 2_000;
/** Far more than a relay lets in; a device remembers each until its connection ends. */
const MAX_HOSTS = 1024;
/** Spreads the devices of a draining relay over the others. */
const MAX_JITTER_MS = 1_000;

/** Passes frames both ways until the socket ends or falls silent, or another relay has taken over. */
export function live(machine: Machine, wire: Wire, terms: Terms): LiveState {
  const { epoch, heartbeatMs, skewMs, features } = terms;
  const { clock, limits, listener } = machine.deps;
  const silenceMs = 2 * Math.min(heartbeatMs || DEFAULT_HEARTBEAT_MS, MAX_HEARTBEAT_MS);
  const sinceMs = clock.monotonicMs();
  let lastHeardMs = sinceMs;
  let hasCarriedCall = false;
  const hosts = new Map([[0, '']]);

  const isProven = () => hasCarriedCall || clock.monotonicMs() - sinceMs >= PROVEN_AFTER_MS;
  const end = (why: string) => {
    if (isProven()) machine.backoff.reset();
    machine.change(state, () => lost(machine, { why }));
  };
  const drop = (why: string) => {
    wire.drop();
    end(why);
  };
  const moveOn = (why: string, withinMs: number, relay?: string) => {
    const jitterMs = Math.floor(machine.deps.random() * Math.min(MAX_JITTER_MS, withinMs));
    machine.moveOn(state, () => {
      // A relay that drains or redirects right after each welcome would be dialled in a loop.
      if (!isProven()) {
        const retryInMs = Math.max(jitterMs, machine.backoff.nextMs());
        return lost(machine, { why, retryInMs, relay });
      }
      machine.backoff.reset();
      return lost(machine, { why, retryInMs: jitterMs, relay });
    });
  };
  const drain = (frame: Frame) => {
    state.isDraining = true;
    machine.takeNoRedirect();
    moveOn('the relay drains', closeAfterMs(frame) / 2);
  };
  const redirect = (frame: Frame) => {
    if (state.successor !== undefined) return;
    const target = machine.follow(frame, wire.relay);
    if (target === undefined) return;
    moveOn('the device belongs to another relay', target.withinMs, target.url);
  };
  const introduce = ({ payload }: Frame) => {
    const { number = 0, name = '' } = readMessage(HostSchema, payload) ?? {};
    if (hosts.has(number) || name === '' || hosts.size > MAX_HOSTS) {
      drop('the relay introduced a host twice, without a name, or one too many');
    } else {
      hosts.set(number, name);
    }
  };
  const hear = (frame: Frame) => {
    if (!isKnownKind(frame.kind)) listener.onIgnored();
    else if (frame.kind >= FrameKind.OPEN) {
      hasCarriedCall ||= frame.kind === FrameKind.CALL || frame.kind === FrameKind.RESUME;
      const host = hosts.get(frame.device);
      if (host === undefined) drop(`the relay did not introduce its host ${frame.device}`);
      else listener.onFrame(frame, host);
    } else if (frame.kind === FrameKind.HOST) introduce(frame);
    else if (frame.kind === FrameKind.DRAIN) drain(frame);
    else if (frame.kind === FrameKind.REDIRECT) redirect(frame);
    else if (frame.kind === FrameKind.CREDENTIAL) listener.onCredential(frame);
    else drop(`the relay sent a frame of kind ${frame.kind} out of turn`);
  };
  const watch = () => {
    const silentMs = clock.monotonicMs() - lastHeardMs;
    if (silentMs >= silenceMs) drop(`the relay was silent for ${Math.round(silentMs)} ms`);
    else watchdog = clock.setTimeout(watch, silenceMs - silentMs);
  };
  let watchdog = clock.setTimeout(watch, silenceMs);
  const tryWebSocket = () => {
    const target = { relay: wire.relay, transport: 'websocket' } as const;
    const why = 'a WebSocket is tried beside the HTTP stream';
    machine.moveOn(state, () => lost(machine, { why, retryInMs: 0, ...target }));
    retry = clock.setTimeout(tryWebSocket, limits.retryWebSocketMs);
  };
  let retry =
    wire.transport === 'websocket'
      ? undefined
      : clock.setTimeout(tryWebSocket, limits.retryWebSocketMs);
  machine.transports.live(wire.transport);

  wire.listen({
    onMessage: (bytes) => {
      lastHeardMs = clock.monotonicMs();
      const { frame, error } = decodeFrame(bytes);
      if (error) drop(error.message);
      else hear(frame);
    },
    onSign: () => {
      lastHeardMs = clock.monotonicMs();
    },
    onClose: (closed) => {
      const refusal = refusalOf(closed);
      if (refusal === undefined) end(describeEnd(closed));
      else machine.change(state, () => refused(refusal));
    },
  });
  const state: LiveState = {
    name: 'live',
    wire,
    epoch,
    skewMs,
    features,
    successor: undefined,
    isDraining: false,
    send: (frame) => {
      wire.send(encodeFrame(frame));
      if (wire.bufferedBytes > limits.maxBufferedBytes) drop('the relay reads too slowly');
    },
    leave: () => {
      clock.clearTimeout(watchdog);
      clock.clearTimeout(retry);
    },
  };
  return state;
}

export interface Redirection {
  readonly url: string;
  readonly withinMs: number;
}

/** No user, query or fragment; whoever answers there still has to be a relay by its certificate. */
const RELAY_URL = /^wss:\/\/[^/\s@?#]{1,260}\/[\w/-]{1,64}$/;

export function readRedirect({ payload }: Frame): Redirection | undefined {
  const { url = '', withinMs = 0 } = readMessage(RedirectSchema, payload) ?? {};
  return RELAY_URL.test(url) && URL.canParse(url) ? { url, withinMs } : undefined;
}

function closeAfterMs({ payload }: Frame): number {
  try {
    return fromBinary(DrainSchema, payload).closeAfterMs;
  } catch {
    // Not a Drain message; the frame's kind says enough.
    return 0;
  }
}

const NO_LISTENER: SocketEvents = { onOpen() {}, onMessage() {}, onSign() {}, onClose() {} };

/** One socket with one listening state at a time. */
export interface Wire extends Omit<RelaySocket, 'terminate'> {
  readonly relay: string;
  readonly transport: Transport;
  /** The new listener replaces the one before it. */
  listen(events: Partial<SocketEvents>): void;
  /** Terminates the socket and reports nothing more. */
  drop(): void;
}

export function openWire(
  dials: ConnectionDeps['dials'],
  { relay, transport }: Pick<Wire, 'relay' | 'transport'>,
): Wire {
  let listener = NO_LISTENER;
  const socket = dials[transport](relay, {
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
    transport,
    get isReached() {
      return socket.isReached;
    },
    get bufferedBytes() {
      return socket.bufferedBytes;
    },
    send: (bytes) => socket.send(bytes),
    close: (code, reason) => socket.close(code, reason),
    listen(events) {
      listener = { ...NO_LISTENER, ...events };
    },
    drop() {
      listener = NO_LISTENER;
      socket.terminate();
    },
  };
}
