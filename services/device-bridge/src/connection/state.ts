import type { ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import type { Catalog } from '@zerolatency/proto/bridge';
import type { Backoff } from '../backoff.ts';
import type { Dial, SocketEnd } from '../ports.ts';
import type { DeviceIdentity } from './hello.ts';
import type { Wire } from './wire.ts';

/**
 *   idle --> dialling --> proving --> live --> lost --> dialling ...
 *               |            |          |
 *               +--> lost <--+          +--> refused
 *                            +-------------> refused --(something changed)--> dialling
 *
 * closed, from any of them, is for good.
 */
export type ConnectionState =
  | (Leaving & { readonly name: 'idle' | 'closed' })
  | (Leaving & { readonly name: 'dialling' | 'proving'; readonly wire: Wire })
  | LiveState
  | (Leaving & { readonly name: 'lost'; readonly why: string; readonly retryInMs: number })
  | (Leaving & { readonly name: 'refused'; readonly error: ZlError });

interface Leaving {
  /** Clears the timers that the state owns; its wire may go on to the next state. */
  leave(): void;
}

export interface LiveState extends Leaving {
  readonly name: 'live';
  readonly wire: Wire;
  readonly epoch: number;
  send(frame: Frame): void;
}

/** What every state is built with. */
export interface Machine {
  readonly deps: ConnectionDeps;
  readonly backoff: Backoff;
  /** Of the relays in turn. */
  nextRelay(): string;
  become(build: () => ConnectionState): void;
  /** Becomes dialling. */
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
  loadIdentity(): Promise<DeviceIdentity>;
  catalog(): Catalog;
  readonly listener: ConnectionListener;
}

export interface ConnectionLimits {
  /** For dialling, and again for proving. */
  readonly handshakeMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Written and not yet taken by the network; a relay that reads so slowly is given up. */
  readonly maxBufferedBytes: number;
}

export interface ConnectionClock {
  /** The time of day, which proofs are dated with. */
  nowMs(): number;
  /** Never steps back: a clock that is set must not make a dead relay seem alive. */
  monotonicMs(): number;
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface ConnectionListener {
  onLive(epoch: number): void;
  onLost(): void;
  onFrame(frame: Frame): void;
  onState(state: ConnectionState): void;
  /** Once for each attempt to reach a relay. */
  onAttempt(outcome: 'live' | 'failed' | 'refused'): void;
}

export function describeEnd({ code, reason }: SocketEnd): string {
  return `the relay closed the socket: ${code}${reason === '' ? '' : ` ${reason}`}`;
}
