import { ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import type { Catalog } from '@zerolatency/proto/bridge';
import type { Backoff } from '../backoff.ts';
import type { Dial, SocketEnd } from '../ports.ts';
import type { DeviceCredentials } from './hello.ts';
import type { Wire } from './wire.ts';

/**
 *   idle --> dialling --> proving --> live --> lost --> dialling ...
 *               |            |          |
 *               +--> lost <--+          +--> refused
 *                            +-------------> refused --(something changed)--> dialling
 *
 * closed is reachable from any of them and final.
 */
export type ConnectionState =
  | (Leaving & { readonly name: 'idle' | 'closed' })
  | (Leaving & { readonly name: 'dialling' | 'proving'; readonly wire: Wire })
  | LiveState
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
  send(frame: Frame): void;
}

/** Every state is built with it. */
export interface Machine {
  readonly deps: ConnectionDeps;
  readonly backoff: Backoff;
  /** The relays take turns. */
  nextRelay(): string;
  become(build: () => ConnectionState): void;
  /** Changes to dialling. */
  redial(): void;
}

export interface ConnectionDeps {
  readonly relays: readonly string[];
  readonly dial: Dial;
  readonly clock: ConnectionClock;
  readonly random: () => number;
  readonly journalId: Uint8Array;
  readonly bridgeVersion: string;
  readonly limits: ConnectionLimits;
  loadIdentity(): Promise<DeviceCredentials>;
  catalog(): Catalog;
  readonly listener: ConnectionListener;
}

export interface ConnectionLimits {
  /** For dialling, and again for proving. */
  readonly handshakeMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Written and not yet taken by the network; a relay that reads more slowly is dropped. */
  readonly maxBufferedBytes: number;
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
  onFrame(frame: Frame): void;
  /** The kind of a frame is not one this release knows. */
  onIgnored(): void;
  onState(state: ConnectionState): void;
  /** Called once for each attempt to reach a relay. */
  onAttempt(outcome: 'live' | 'failed' | 'refused'): void;
}

export function describeEnd({ code, reason }: SocketEnd): string {
  return `the relay closed the socket: ${code}${reason === '' ? '' : ` ${reason}`}`;
}

interface Loss {
  readonly why: string;
  /** Set when the relay asked us to leave; otherwise a backoff. */
  readonly retryInMs?: number;
}

export function lost(machine: Machine, { why, retryInMs: given }: Loss): ConnectionState {
  const { clock } = machine.deps;
  const retryInMs = given ?? machine.backoff.nextMs();
  const timer = clock.setTimeout(() => machine.redial(), retryInMs);
  return { name: 'lost', why, retryInMs, leave: () => clock.clearTimeout(timer) };
}

/** Waits until something changes: a refused credential stays refused. */
export function refused(error: ZlError): ConnectionState {
  return { name: 'refused', error, leave: () => {} };
}

/** A relay closes with these when no later attempt of the same device can succeed. */
const REFUSAL_CODES: ReadonlySet<number> = new Set([4401, 4403]);

export function refusalOf({ code, reason }: SocketEnd): ZlError | undefined {
  if (!REFUSAL_CODES.has(code) && !reason.startsWith('device.credential_invalid')) return undefined;
  const message = `the relay refuses this device's credential (${code} ${reason})`;
  return new ZlError('device.credential_invalid', message);
}
