import { canonicalText } from '@zerolatency/signing';
import {
  encodeRecord,
  type LedgerRecord,
  type OpenIntent,
  parseRecord,
  type RecordFault,
} from './record.ts';
import type { Line } from './segments.ts';
import { leafHash, MerkleFrontier } from './tree.ts';

export type ChainStep =
  | { readonly record: LedgerRecord; readonly leaf: Uint8Array; readonly fault?: undefined }
  | { readonly record?: undefined; readonly fault: ChainFault };

export interface ChainFault {
  /** prev: either this record or the one before it was altered. */
  readonly kind: RecordFault['kind'] | 'cut' | 'form' | 'index' | 'prev' | 'segment';
  readonly reason: string;
}

const FIRST_PREV = '0'.repeat(64);

/** Follows the records of a ledger in order, and stops at the first that does not fit. */
export class Chain {
  readonly #frontier: MerkleFrontier;
  #prev: string;
  #ledgerId: string;
  #version = 1;
  #isEnded = false;
  /** Intents whose call has no receipt yet, by call id. */
  readonly #open: Map<string, OpenIntent>;

  private constructor(
    frontier = new MerkleFrontier(),
    { prev = FIRST_PREV, ledgerId = '', open = [] as readonly OpenIntent[] } = {},
  ) {
    this.#frontier = frontier;
    this.#prev = prev;
    this.#ledgerId = ledgerId;
    this.#open = new Map(open.map((intent) => [intent.body.callId, intent]));
  }

  static empty(): Chain {
    return new Chain();
  }

  /** Built from what the first record of a segment states about all earlier records. */
  static before(record: LedgerRecord): Chain | undefined {
    if (record.kind === 'ledger.opened') return Chain.empty();
    if (record.kind !== 'ledger.segment') return undefined;
    const { ledgerId, openIntents: open } = record.body;
    const roots = record.body.frontier.map((root) => Buffer.from(root, 'hex'));
    const frontier = MerkleFrontier.of(record.index, roots);
    return frontier && new Chain(frontier, { prev: record.prev, ledgerId, open });
  }

  get size(): number {
    return this.#frontier.size;
  }

  get prev(): string {
    return this.#prev;
  }

  get frontier(): MerkleFrontier {
    return this.#frontier;
  }

  /** Empty before the first record. */
  get ledgerId(): string {
    return this.#ledgerId;
  }

  /** Nothing may follow. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  get openIntentCount(): number {
    return this.#open.size;
  }

  openIntents(): OpenIntent[] {
    return [...this.#open.values()];
  }

  step(line: Line, isFirstOfSegment: boolean): ChainStep {
    if (!line.isWhole) return { fault: { kind: 'cut', reason: 'is cut off' } };
    const { value: record, error } = parseRecord(line.bytes);
    if (record === undefined) return { fault: error };
    const fault = this.#faultIn(record, isFirstOfSegment) ?? faultInForm(record, line);
    if (fault !== undefined) return { fault };
    const leaf = leafHash(line.bytes);
    this.advance(record, leaf);
    return { record, leaf };
  }

  advance(record: LedgerRecord, leaf: Uint8Array): void {
    const { index, at, kind, body, v } = record;
    this.#version = v;
    if (kind === 'ledger.opened') this.#ledgerId = body.ledgerId;
    if (kind === 'call.intent') this.#open.set(body.callId, { index, at, body });
    if (kind === 'call.receipt') this.#open.delete(body.callId);
    if (kind === 'ledger.ended') this.#isEnded = true;
    this.#frontier.push(leaf);
    this.#prev = Buffer.from(leaf).toString('hex');
  }

  #faultIn(record: LedgerRecord, isFirstOfSegment: boolean): ChainFault | undefined {
    const { index, kind, prev, v } = record;
    if (index !== this.size) {
      const problem = index > this.size ? 'is missing' : 'is not in its place';
      return { kind: 'index', reason: `${problem}: record ${index} stands there` };
    }
    if (prev !== this.#prev) {
      return { kind: 'prev', reason: 'does not follow the record before it' };
    }
    if (this.#isEnded) return { kind: 'form', reason: 'follows the end of the ledger' };
    // A host does not open a ledger of a later version than its own.
    if (v < this.#version)
      return { kind: 'form', reason: 'has an older version than those before' };
    if ((index === 0) !== (kind === 'ledger.opened')) {
      const reason = index === 0 ? 'does not name the ledger' : 'names the ledger a second time';
      return { kind: 'segment', reason };
    }
    if (isFirstOfSegment !== (index === 0 || kind === 'ledger.segment')) {
      return { kind: 'segment', reason: 'does not begin its file as it should' };
    }
    if (kind !== 'ledger.segment') return undefined;
    if (record.body.ledgerId !== this.#ledgerId) {
      return { kind: 'segment', reason: `belongs to another ledger, ${record.body.ledgerId}` };
    }
    const roots = this.#frontier.roots.map((root) => Buffer.from(root).toString('hex'));
    const isSame =
      roots.join() === record.body.frontier.join() &&
      canonicalText(this.openIntents()) === canonicalText(record.body.openIntents);
    return isSame
      ? undefined
      : { kind: 'segment', reason: 'does not sum up the records before it' };
  }
}

/** One record has one spelling, and claims nothing of what comes after it. */
function faultInForm(record: LedgerRecord, { bytes }: Line): ChainFault | undefined {
  const { index, synced, kind, body } = record;
  if (!encodeRecord(record).line.subarray(0, -1).equals(bytes)) {
    return { kind: 'form', reason: 'is not canonical JSON (RFC 8785)' };
  }
  const counted = kind === 'ledger.adopted' ? body.records : 0;
  if (synced <= index && (counted === 0 || counted < index)) return undefined;
  return { kind: 'form', reason: 'counts records that were not there yet' };
}
