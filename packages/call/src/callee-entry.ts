import type { CalleeCall, Ending } from './callee-ports.ts';
import { ResultOutbox } from './result-outbox.ts';

/**
 *   received --begin--> dispatched --finished--> sealing --sealed--> finished --ACK--> acknowledged
 *      |                                            ^
 *      +--- denied, cancelled, expired, no room ----+
 *
 * `received` is in memory only. Journalling and `dispatched` are one write: a
 * call that has not begun has not run, and after a restart "not seen" says so.
 * `sealing` waits for the receipt: the outcome is fixed, and neither persisted nor sent.
 */
export type EntryState =
  | { readonly name: 'received'; readonly call: CalleeCall; readonly request: Uint8Array }
  | { readonly name: 'dispatched'; readonly call: CalleeCall; readonly durable: boolean }
  | { readonly name: 'sealing'; readonly ending: Ending; readonly durable: boolean }
  | { readonly name: 'finished'; readonly outcome: Uint8Array; readonly resultBytes: number }
  | { readonly name: 'acknowledged'; readonly outcome: Uint8Array; readonly resultBytes: number };

/** What a callee knows of one call until it forgets it. */
export class CalleeEntry {
  readonly callId: string;
  readonly digest: Uint8Array;
  readonly deadlineMs: number;
  readonly outbox = new ResultOutbox();
  state: EntryState;
  /** Of the caller's last CALL or RESUME: output goes only to a route that the caller has asked on. */
  epoch = 0;
  /** The outcome went out since the caller last asked. */
  isTold = false;

  constructor(key: Pick<CalleeCall, 'callId' | 'digest' | 'deadlineMs'>, state: EntryState) {
    this.callId = key.callId;
    this.digest = key.digest;
    this.deadlineMs = key.deadlineMs;
    this.state = state;
  }

  /** No outcome is fixed yet. */
  get isRunning(): boolean {
    return 'call' in this.state;
  }

  /** Its outcome is persisted. */
  get isSettled(): boolean {
    return 'outcome' in this.state;
  }
}
