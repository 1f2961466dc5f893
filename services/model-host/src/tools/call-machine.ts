import { ZlError } from '@zerolatency/errors';
import type { Outcome } from '@zerolatency/receipts';

/**
 * The host's call.
 *
 *   prepared -> decided -> validated -> recorded -> sent <-> resuming
 *
 * and from any of them to done | failed | denied | cancelled | unknown. Only
 * what was sent can be done or unknown. `recorded` is the intent in the
 * ledger, without which nothing is sent.
 */
export type CallPhase =
  | 'prepared'
  | 'decided'
  | 'validated'
  | 'recorded'
  | 'sent'
  | 'resuming'
  | Outcome;

const FOLLOWERS: Readonly<Record<CallPhase, readonly CallPhase[]>> = {
  prepared: ['decided', 'denied', 'failed', 'cancelled'],
  decided: ['validated', 'failed', 'cancelled'],
  validated: ['recorded', 'failed', 'cancelled'],
  // Recorded again: the device came back with another journal before anything was sent.
  recorded: ['recorded', 'sent', 'failed', 'cancelled'],
  sent: ['resuming', 'done', 'failed', 'denied', 'cancelled', 'unknown'],
  resuming: ['sent', 'done', 'failed', 'denied', 'cancelled', 'unknown'],
  done: [],
  failed: [],
  denied: [],
  cancelled: [],
  unknown: [],
};

export function mayFollow(from: CallPhase, to: CallPhase): boolean {
  return FOLLOWERS[from].includes(to);
}

export class CallMachine {
  #phase: CallPhase = 'prepared';

  get phase(): CallPhase {
    return this.#phase;
  }

  get ended(): boolean {
    return FOLLOWERS[this.#phase].length === 0;
  }

  /** Whether the device may have heard of the call. */
  get sent(): boolean {
    return this.#phase === 'sent' || this.#phase === 'resuming';
  }

  to(phase: CallPhase): void {
    if (!mayFollow(this.#phase, phase)) {
      throw new ZlError('internal', `a call that is ${this.#phase} cannot become ${phase}`);
    }
    this.#phase = phase;
  }
}
