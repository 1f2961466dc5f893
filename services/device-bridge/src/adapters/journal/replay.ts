import type { JournalEntry } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { JournalState } from './journal.ts';
import { type ReadRecord, recordsIn } from './log.ts';

type Head = Readonly<Record<string, unknown>>;

export interface Replay {
  readonly state: JournalState;
  /** What follows the last whole record. */
  readonly tornBytes: number;
}

/** Repeats the writes of a log. Throws where a crash cannot have made it what it is. */
export function replay(content: Buffer): Replay {
  const records = recordsIn(content);
  const first = records.next();
  if (first.done) throw malformed();
  const state = stateOf(first.value.head);
  let hasBase = false;
  for (;;) {
    const { done, value } = records.next();
    if (!done) hasBase = apply(state, value) || hasBase;
    // The base was synced before it got its name.
    else if (hasBase) return { state, tornBytes: value };
    else throw malformed();
  }
}

/** From the record with which every journal begins. */
function stateOf(head: unknown): JournalState {
  if (!isHead(head) || head.op !== 'journal' || head.version !== 1) throw malformed();
  const state = new JournalState(bytesOf(head.id));
  state.watermarkMs = numberOf(head.watermarkMs);
  state.completeEpochs = listOf(head.epochs).map(numberOf);
  for (const name of listOf(head.marks)) state.marks.add(textOf(name));
  return state;
}

/** Repeats the write that a record stands for. Returns true for the end of the base. */
function apply(state: JournalState, { head, bytes: view }: ReadRecord): boolean {
  if (!isHead(head)) throw malformed();
  // A view would keep the whole log in memory.
  const bytes = Uint8Array.from(view);
  switch (head.op) {
    case 'dispatched':
      state.dispatched({ ...keyOf(head), request: bytes });
      break;
    case 'finished':
      finish(state, head, bytes);
      break;
    case 'acknowledged':
      state.restore(acknowledgedOf(head, bytes));
      break;
    case 'freed':
      for (const callId of listOf(head.callIds)) state.acknowledged(textOf(callId));
      break;
    case 'forget':
      state.forget(numberOf(head.watermarkMs));
      break;
    case 'complete':
      state.completeEpochs = listOf(head.epochs).map(numberOf);
      break;
    case 'mark':
      state.marks.add(textOf(head.name));
      break;
    case 'base':
      return true;
    default:
      throw malformed();
  }
  return false;
}

function finish(state: JournalState, head: Head, bytes: Uint8Array): void {
  const outcomeBytes = numberOf(head.outcomeBytes);
  const outcome = bytes.subarray(0, outcomeBytes);
  const rest = bytes.subarray(outcomeBytes);
  if (outcome.length < outcomeBytes) throw malformed();
  if (head.file === undefined) {
    state.finished({ ...keyOf(head), outcome, result: rest }, undefined);
    return;
  }
  if (!isHead(head.file)) throw malformed();
  const file = { bytes: numberOf(head.file.bytes), crc32: numberOf(head.file.crc32) };
  const request = rest.length === 0 ? undefined : rest;
  state.finished({ ...keyOf(head), outcome, result: new Uint8Array(0) }, { file, request });
}

function acknowledgedOf(head: Head, outcome: Uint8Array): JournalEntry {
  const resultBytes = numberOf(head.resultBytes);
  return { ...keyOf(head), state: 'acknowledged', outcome, resultBytes };
}

function keyOf({ callId, digest, deadlineMs, host }: Head) {
  return {
    callId: textOf(callId),
    digest: bytesOf(digest),
    deadlineMs: numberOf(deadlineMs),
    host: textOf(host),
  };
}

function isHead(value: unknown): value is Head {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  throw malformed();
}

function numberOf(value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw malformed();
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw malformed();
}

function bytesOf(value: unknown): Uint8Array {
  const text = textOf(value);
  if (/^([0-9a-f]{2})+$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'));
  throw malformed();
}

const malformed = () => new ZlError('journal.corrupt', 'the journal contains a malformed record');
