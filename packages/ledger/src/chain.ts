import { IntentBook } from './intent-book.ts';
import { leafHash, MerkleFrontier } from './merkle.ts';
import { FIRST_PREV, type LedgerRecord, parseRecord, type SegmentStart } from './record.ts';
import type { Line } from './segments.ts';

export type ChainStep =
  | { readonly record: LedgerRecord; readonly leaf: Uint8Array; readonly fault?: undefined }
  | { readonly fault: ChainFault };

export interface ChainFault {
  /** prev: either this record or the one before it was altered. */
  readonly kind: 'cut' | 'unreadable' | 'index' | 'prev' | 'segment';
  readonly reason: string;
}

/** Follows the records of a ledger one after another, and stops at the first that does not fit. */
export class Chain {
  readonly intents: IntentBook;
  #frontier: MerkleFrontier;
  #prev: string;

  private constructor(frontier: MerkleFrontier, prev: string, intents: IntentBook) {
    this.#frontier = frontier;
    this.#prev = prev;
    this.intents = intents;
  }

  static empty(): Chain {
    return new Chain(new MerkleFrontier(), FIRST_PREV, new IntentBook());
  }

  /** From what a segment's first record says of all before it. */
  static before(record: LedgerRecord): Chain | undefined {
    if (record.kind !== 'ledger.segment' || !isSegmentStart(record.body)) return undefined;
    const roots = record.body.frontier.map((root) => Buffer.from(root, 'hex'));
    const frontier = MerkleFrontier.of(record.index, roots);
    if (frontier === undefined) return undefined;
    return new Chain(frontier, record.prev, new IntentBook(record.body.openIntents));
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

  step(line: Line, isFirstOfSegment: boolean): ChainStep {
    if (!line.isWhole) return fault('cut', 'is cut off');
    const record = parseRecord(line.bytes);
    if (record === undefined) return fault('unreadable', 'cannot be read');
    const problem = this.#problem(record, isFirstOfSegment);
    if (problem !== undefined) return { fault: problem };
    const leaf = leafHash(line.bytes);
    this.advance(record, leaf);
    return { record, leaf };
  }

  advance(record: LedgerRecord, leaf: Uint8Array): void {
    this.intents.note(record);
    this.#frontier.push(leaf);
    this.#prev = Buffer.from(leaf).toString('hex');
  }

  #problem(record: LedgerRecord, isFirstOfSegment: boolean): ChainFault | undefined {
    if (record.index !== this.size) {
      const missing = record.index > this.size ? 'is missing' : 'is not in its place';
      return { kind: 'index', reason: `${missing}: record ${record.index} stands there` };
    }
    if (record.prev !== this.#prev) {
      return { kind: 'prev', reason: 'does not follow the record before it' };
    }
    if (isFirstOfSegment !== (record.kind === 'ledger.segment')) {
      return { kind: 'segment', reason: 'does not begin its file as it should' };
    }
    if (record.kind !== 'ledger.segment' || this.#matches(record.body)) return undefined;
    return { kind: 'segment', reason: 'does not sum up the records before it' };
  }

  #matches(start: SegmentStart): boolean {
    const roots = this.#frontier.roots.map((root) => Buffer.from(root).toString('hex'));
    return isSegmentStart(start) && roots.join() === start.frontier.join();
  }
}

function isSegmentStart(body: Partial<SegmentStart>): body is SegmentStart {
  const { frontier, openIntents } = body;
  return Array.isArray(frontier) && frontier.every(isHash) && Array.isArray(openIntents);
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function fault(kind: ChainFault['kind'], reason: string): { fault: ChainFault } {
  return { fault: { kind, reason } };
}
