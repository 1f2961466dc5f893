import type { Frame } from '@zerolatency/frame';
import type { Journal, Route } from '../../src/index.ts';

/** What the adapters around a callee and a caller see of the world they are in. */
export interface Surroundings {
  readonly journalId: Uint8Array;
  /** The epoch of the device's socket; undefined while it has none. */
  readonly epoch: number | undefined;
  /** The clock of the device's bridge. */
  readonly deviceMs: number;
}

/** The world around the two machines. A variant that breaks one rule differs in one of these. */
export interface Variant {
  readonly journalFor: (disk: Journal) => Journal;
  /** The clock that a call is compared with when it begins. */
  readonly beginsAt: (nowMs: number) => number;
  readonly fromHost: (frame: Frame, at: Surroundings) => Frame;
  readonly toDevice: (frame: Frame, at: Surroundings) => Frame;
  readonly toHost: (frame: Frame, at: Surroundings) => Frame;
  readonly routeFor: (route: Route) => Route;
  readonly recordsIntentFirst: boolean;
  readonly hostTicks: boolean;
  readonly retriesUnknown: boolean;
  /** The bridge's clock does not change when the device's time of day is set. */
  readonly isClockSteady: boolean;
  /** After a hand-over the bridge goes on with the old socket too. */
  readonly servesBothSockets: boolean;
}

export const FAITHFUL: Variant = {
  journalFor: (disk) => disk,
  beginsAt: (nowMs) => nowMs,
  fromHost: (frame) => frame,
  toDevice: (frame) => frame,
  toHost: (frame) => frame,
  routeFor: (route) => route,
  recordsIntentFirst: true,
  hostTicks: true,
  retriesUnknown: false,
  isClockSteady: true,
  servesBothSockets: false,
};
