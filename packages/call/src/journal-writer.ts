import { createHash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { NO_BYTES } from './call.ts';
import { CalleeEntry } from './callee-entries.ts';
import type { CalleeCall, CalleeOutcome, Finish, Seal } from './callee-ports.ts';
import type { DispatchedEntry, Journal, JournalEntry } from './journal.ts';
import { boundedText, outcomePayload, readCall } from './messages.ts';

/** Whether a callee can answer for a call by the request in its journal. */
export function isReadableRequest({ callId, request, deadlineMs }: DispatchedEntry): boolean {
  return readCall(callId, request, deadlineMs) !== undefined;
}

/** Writes each step of a call to the journal before anyone acts on it (rule 3). */
export class JournalWriter {
  readonly #journal: Journal;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Returns false when the call is not waiting to begin. */
  begin(entry: CalleeEntry, durable: boolean): boolean {
    const { state, callId, digest, deadlineMs, host } = entry;
    if (state.name !== 'received') return false;
    const { request } = state;
    this.#journal.dispatched({ callId, digest, deadlineMs, host, request }, durable);
    entry.state = { name: 'dispatched', call: state.call, durable };
    return true;
  }

  /** Fixes the outcome and returns what has to be sealed; undefined when an outcome was fixed before. */
  end(entry: CalleeEntry, finish: Finish): { call: CalleeCall; stated: CalleeOutcome } | undefined {
    const { state } = entry;
    if (!('call' in state)) return undefined;
    const stated = statedOutcome(finish);
    // "It never ran" stays true only if it is remembered.
    const durable = state.name === 'received' || state.durable;
    entry.state = { name: 'sealing', stated, durable, hasBegun: state.name === 'dispatched' };
    return { call: state.call, stated };
  }

  /** Persists the outcome with its receipt. Returns false when the call is not waiting for one. */
  seal(entry: CalleeEntry, seal: Seal): boolean {
    const { state, callId, digest, deadlineMs, host } = entry;
    if (state.name !== 'sealing') return false;
    const { stated, durable } = state;
    const { result } = entry.outbox;
    const outcome = outcomePayload(stated, seal);
    this.#journal.finished({ callId, digest, deadlineMs, host, outcome, result }, durable);
    entry.state = { name: 'finished', outcome, resultBytes: result.length };
    return true;
  }

  /** Frees the bytes of the result. */
  acknowledge(entry: CalleeEntry): void {
    const { state } = entry;
    if (state.name !== 'finished') return;
    entry.outbox.free();
    entry.state = { ...state, name: 'acknowledged' };
    this.#journal.acknowledged(entry.callId);
  }

  /** Restores an entry that an earlier run of this callee wrote. */
  restore(stored: JournalEntry, nowMs: number): CalleeEntry {
    // However the clock was set meanwhile, a caller has the whole retention to ask.
    const row = { ...stored, endsMs: nowMs };
    if (row.state === 'dispatched') {
      const call = readCall(row.callId, row.request, row.deadlineMs)?.call;
      if (call === undefined) {
        throw new ZlError('journal.corrupt', `the request of call ${row.callId} is unreadable`);
      }
      return new CalleeEntry(row, { name: 'dispatched', call, durable: true });
    }
    const { outcome } = row;
    if (row.state === 'acknowledged') {
      const { resultBytes } = row;
      return new CalleeEntry(row, { name: 'acknowledged', outcome, resultBytes });
    }
    const resultBytes = row.result.length;
    const entry = new CalleeEntry(row, { name: 'finished', outcome, resultBytes });
    entry.outbox.result = row.result;
    return entry;
  }
}

function statedOutcome(finish: Finish): CalleeOutcome {
  if (finish.status === 'done') {
    const { result } = finish;
    const resultDigest = createHash('sha256').update(result).digest();
    return {
      status: 'done',
      errorId: '',
      errorMessage: '',
      resultDigest,
      resultBytes: result.length,
    };
  }
  const { status, error } = finish;
  const errorMessage = boundedText(error.message);
  return { status, errorId: error.id, errorMessage, resultDigest: NO_BYTES, resultBytes: 0 };
}
