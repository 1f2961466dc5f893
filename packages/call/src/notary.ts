import { createHash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { readCall } from './call-message.ts';
import { CalleeEntry } from './callee-entry.ts';
import { outcomePayload } from './callee-frames.ts';
import type { CalleeCall, Ending, Finish, Seal } from './callee-ports.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { NO_BYTES } from './outcome.ts';

/** A tool's own error text may be long; an outcome is one frame. */
const MAX_ERROR_CHARS = 8_192;

/** Puts a call's steps into the journal, before anyone acts on them (rule 3). */
export class Notary {
  readonly #journal: Journal;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** False when the call is not waiting to begin. */
  begin(entry: CalleeEntry, durable: boolean): boolean {
    const { state, callId, digest, deadlineMs } = entry;
    if (state.name !== 'received') return false;
    this.#journal.dispatched({ callId, digest, deadlineMs, request: state.request }, durable);
    entry.state = { name: 'dispatched', call: state.call, durable };
    return true;
  }

  /** Fixes the outcome and returns what has to be sealed; undefined when an outcome was fixed before. */
  end(entry: CalleeEntry, finish: Finish): { call: CalleeCall; ending: Ending } | undefined {
    const { state } = entry;
    if (!('call' in state)) return undefined;
    const result = finish.status === 'done' ? entry.outbox.whole() : NO_BYTES;
    const ending = endingOf(finish, result);
    // What says "it never ran" stays true only if it is remembered.
    const durable = state.name === 'received' || state.durable;
    entry.state = { name: 'sealing', ending, durable };
    return { call: state.call, ending };
  }

  /** Persists the outcome with its receipt. False when the call is not waiting for one. */
  seal(entry: CalleeEntry, seal: Seal): boolean {
    const { state, callId, digest, deadlineMs } = entry;
    if (state.name !== 'sealing') return false;
    const { ending, durable } = state;
    const result = ending.status === 'done' ? entry.outbox.whole() : NO_BYTES;
    const outcome = outcomePayload(ending, seal);
    this.#journal.finished({ callId, digest, deadlineMs, outcome, result }, durable);
    entry.state = { name: 'finished', outcome, resultBytes: result.length };
    return true;
  }

  /** True when the result's bytes are not needed any more. */
  acknowledge(entry: CalleeEntry): boolean {
    const { state } = entry;
    if (state.name !== 'finished') return false;
    this.#journal.acknowledged(entry.callId);
    entry.state = { ...state, name: 'acknowledged' };
    return true;
  }

  /** An entry as an earlier run of this callee left it. */
  restore(row: JournalEntry): CalleeEntry {
    if (row.state === 'dispatched') {
      const call = readCall(row.callId, row.request)?.call;
      if (call === undefined) {
        throw new ZlError('internal', `the journal's request of call ${row.callId} is unreadable`);
      }
      return new CalleeEntry(row, { name: 'dispatched', call, durable: true });
    }
    const { outcome } = row;
    if (row.state === 'acknowledged') {
      return new CalleeEntry(row, { name: 'acknowledged', outcome, resultBytes: 0 });
    }
    const resultBytes = row.result.length;
    const entry = new CalleeEntry(row, { name: 'finished', outcome, resultBytes });
    entry.outbox.append(row.result);
    return entry;
  }
}

function endingOf(finish: Finish, result: Uint8Array): Ending {
  if (finish.status === 'done') {
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
  const errorMessage = error.message.slice(0, MAX_ERROR_CHARS);
  return { status, errorId: error.id, errorMessage, resultDigest: NO_BYTES, resultBytes: 0 };
}
