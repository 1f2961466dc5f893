import { ZlError } from '@zerolatency/errors';
import { RECEIPT_TYPE } from '@zerolatency/receipts';
import { counted } from '@zerolatency/service/counted';
import { type Verifier, verifyEnvelope } from '@zerolatency/signing';
import { Chain, type ChainFault } from './chain.ts';
import { type Checkpoint, verifyCheckpoint } from './checkpoint.ts';
import type { Anchor, Floor } from './floor.ts';
import { type LedgerRecord, parseRecord } from './record.ts';
import type { Line, Segment } from './segments.ts';
import type { LedgerSource, LedgerStore } from './store.ts';

export interface Recovered {
  readonly chain: Chain;
  /** The one to append to; undefined in a new ledger. */
  readonly segment?: Segment;
  /** Without the segment's first record. */
  readonly segmentBytes: number;
  /** Bytes of a write that a crash cut short before it was acknowledged. */
  readonly cutBytes: number;
  readonly checkpoint?: Checkpoint;
  /** Whole records above the checkpoint, which a crash left unsigned. */
  readonly adopted: number;
  /** Calls and turns of a ledger that failed whose receipt or record was stored, although its writer was told otherwise. */
  readonly late: ReadonlySet<string>;
}

interface RecoverOptions {
  readonly store: LedgerStore;
  readonly origin: string;
  readonly keys: readonly Verifier[];
  /**
   * For a ledger that failed: what it had acknowledged. Records beyond are cut where a write may be
   * cut short, because after a failed fsync they may be in the page cache and not on disk.
   */
  readonly acknowledged?: Anchor | undefined;
}

interface Fault {
  readonly kind: ChainFault['kind'] | 'anchor' | 'receipt' | 'unacknowledged';
  readonly reason: string;
}

interface Damage extends Fault {
  readonly segment: Segment;
  readonly line: Line;
}

/** Reads what is needed to append again: from the segment of the oldest anchor on. */
export async function recover(options: RecoverOptions): Promise<Recovered> {
  const { store, acknowledged, keys } = options;
  const checkpoint = await readCheckpoint(options);
  const floor = await store.floor?.read();
  const anchors = anchorsOf(options, { checkpoint, floor });
  const segments = await store.segments();
  const knownSize = Math.min(...anchors.map(({ size }) => size), checkpoint?.size ?? 0);
  const from = segments.findLastIndex((segment) => segment.firstIndex <= knownSize);
  const unchecked = segments.slice(Math.max(0, from));
  const anchoredSize = Math.max(1, ...anchors.map(({ size }) => size));
  const scan = new Scan({
    anchors,
    source: store,
    keys,
    anchoredSize,
    acknowledgedSize: acknowledged?.size ?? Number.POSITIVE_INFINITY,
    cutsLate: store.cut !== undefined,
    mayBeTorn: floor?.isClosed !== true,
  });
  let cutBytes = 0;
  for (const [i, segment] of unchecked.entries()) {
    const damage = await scan.read(segment);
    if (damage === undefined) continue;
    if (acknowledged !== undefined) assertHolds(anchors, scan);
    const isTail = i === unchecked.length - 1 || damage.kind === 'unacknowledged';
    if (!isTail || !(await scan.isTorn(damage)) || store.cut === undefined) throw corrupt(damage);
    cutBytes = await store.cut({ segment, start: damage.line.start });
    unchecked.splice(i + 1);
  }
  assertHolds(anchors, scan);
  assertSigned(scan, checkpoint, floor);
  const { chain, late } = scan;
  const adopted = Math.max(0, scan.size - anchoredSize);
  const last = unchecked.at(-1);
  if (last === undefined) {
    return { chain: Chain.empty(), segmentBytes: 0, cutBytes, checkpoint, adopted, late };
  }
  if (scan.segmentLines > 0) {
    const { segmentBytes } = scan;
    return { chain, segment: last, segmentBytes, cutBytes, checkpoint, adopted, late };
  }
  // A crash fell between the creation of the file and its first record.
  await store.cut?.({ segment: last, start: 0 });
  const rest = await recover(options);
  return { ...rest, cutBytes: rest.cutBytes + cutBytes };
}

interface NamedAnchor extends Anchor {
  readonly source: string;
  /** What else helps than to restore the ledger. */
  readonly remedy: string;
}

function anchorsOf(
  { store, acknowledged }: RecoverOptions,
  { checkpoint, floor }: { checkpoint: Checkpoint | undefined; floor: Floor | undefined },
): NamedAnchor[] {
  const source = store.floor?.name ?? '';
  const remedy = `; to go on with what is there, remove ${source}`;
  const anchors = [
    checkpoint && { ...checkpoint, source: 'the checkpoint', remedy: '' },
    floor && { ...floor, source, remedy },
    acknowledged && { ...acknowledged, source: 'this process', remedy: '' },
  ];
  return anchors.flatMap((anchor) => (anchor !== undefined && anchor.size > 0 ? [anchor] : []));
}

/** The newest anchor is named, because it knows most about what is lost. */
function assertHolds(anchors: readonly NamedAnchor[], { size, chain }: Scan): void {
  const other = anchors.find(({ ledgerId }) => chain.size > 0 && ledgerId !== chain.ledgerId);
  if (other !== undefined) {
    const { source, ledgerId, remedy } = other;
    throw new ZlError(
      'ledger.corrupt',
      `the records are of ledger ${chain.ledgerId}, ${source} of ${ledgerId}${remedy}`,
    );
  }
  const [newest] = anchors.toSorted((a, b) => b.size - a.size);
  if (newest === undefined || newest.size <= size) return;
  const { source, ledgerId, remedy } = newest;
  throw new ZlError(
    'ledger.corrupt',
    `record ${size} is missing: ${source} covers ${newest.size} of ledger ${ledgerId}${remedy}`,
  );
}

/** Only a crash leaves records without a checkpoint, and no more than one interval writes. */
function assertSigned({ size }: Scan, checkpoint?: Checkpoint, floor?: Floor): void {
  // The checkpoint follows record 0 before anything else is written.
  if (checkpoint === undefined && size > 1) {
    throw new ZlError(
      'ledger.corrupt',
      `the checkpoint over ${counted(size, 'record')} was removed`,
    );
  }
  if (!floor?.isClosed || size <= floor.size) return;
  const message = `record ${floor.size} was added while the host was stopped`;
  throw new ZlError('ledger.corrupt', message);
}

interface ScanRules {
  readonly source: LedgerSource;
  readonly anchors: readonly NamedAnchor[];
  /** The host's, which signed every receipt. */
  readonly keys: readonly Verifier[];
  /** Records from here on were signed by nobody. */
  readonly anchoredSize: number;
  readonly acknowledgedSize: number;
  readonly cutsLate: boolean;
  /** Whether a crash can have cut the last write short. */
  readonly mayBeTorn: boolean;
}

class Scan {
  readonly #rules: ScanRules;
  #chain: Chain | undefined;
  #firstIndex = 0;
  /** Valid lines of the segment read last. */
  segmentLines = 0;
  segmentBytes = 0;
  readonly late = new Set<string>();

  constructor(rules: ScanRules) {
    this.#rules = rules;
  }

  get chain(): Chain {
    return this.#chain ?? Chain.empty();
  }

  get size(): number {
    return this.#chain?.size ?? this.#firstIndex;
  }

  /** Stops at the first line that does not fit. */
  async read(segment: Segment): Promise<Damage | undefined> {
    this.segmentLines = 0;
    this.segmentBytes = 0;
    if (this.#chain === undefined) this.#firstIndex = segment.firstIndex;
    for await (const line of this.#rules.source.lines(segment)) {
      const isFirst = this.segmentLines === 0;
      const isLate = this.size >= this.#rules.acknowledgedSize;
      if (isLate && this.#rules.cutsLate) return { segment, line, ...UNACKNOWLEDGED };
      if (isFirst) this.#begin(line, segment);
      const step = this.chain.step(line, isFirst);
      const fault = step.fault ?? this.#anchorFault() ?? this.#receiptFault(step.record);
      if (fault !== undefined) return { segment, line, ...fault };
      if (isLate && step.record !== undefined) this.#noteLate(step.record);
      this.segmentLines++;
      if (!isFirst) this.segmentBytes += line.bytes.byteLength + 1;
    }
    return undefined;
  }

  #noteLate({ kind, body }: LedgerRecord): void {
    if (kind === 'call.receipt') this.late.add(body.callId);
    if (kind === 'turn') this.late.add(body.turnId);
  }

  /** A line that cannot begin a segment leaves no chain, and fails in the step that follows. */
  #begin(line: Line, segment: Segment): void {
    if (this.#chain !== undefined || !line.isWhole) return;
    const { value: record } = parseRecord(line.bytes);
    if (record?.index !== segment.firstIndex) return;
    this.#chain = Chain.before(record);
    const fault = this.#anchorFault();
    if (fault !== undefined) throw corrupt({ segment, line, ...fault });
  }

  /** Whether the damage can be a write that was cut short: no later line says that it was on disk. */
  async isTorn({ kind, segment, line: damaged }: Damage): Promise<boolean> {
    const { anchors, mayBeTorn } = this.#rules;
    if (!mayBeTorn || !CUTTABLE.has(kind)) return false;
    if (anchors.some(({ size }) => size > this.size)) return false;
    for await (const line of this.#rules.source.lines(segment)) {
      if (line.start < damaged.start) continue;
      const { value: record } = parseRecord(line.bytes);
      if (record !== undefined && record.synced > this.size) return false;
    }
    return true;
  }

  #anchorFault(): Fault | undefined {
    const chain = this.#chain;
    const here = this.#rules.anchors.filter(({ size }) => size === chain?.size);
    const root = here.length === 0 ? undefined : chain?.frontier.root();
    const other = here.find(
      (anchor) => root !== undefined && !Buffer.from(root).equals(anchor.root),
    );
    return other && { kind: 'anchor', reason: `differs from ${other.source}${other.remedy}` };
  }

  /** Nothing else vouches for a receipt that no checkpoint covers. */
  #receiptFault({ index, kind, body }: LedgerRecord): Fault | undefined {
    const { anchoredSize, keys } = this.#rules;
    if (kind !== 'call.receipt' || index < anchoredSize) return undefined;
    const { error } = verifyEnvelope(body.receipt, { payloadType: RECEIPT_TYPE, keys });
    return error && { kind: 'receipt', reason: `holds a receipt that is not this host's` };
  }
}

const UNACKNOWLEDGED = { kind: 'unacknowledged', reason: 'was not acknowledged' } as const;

const CUTTABLE: ReadonlySet<Damage['kind']> = new Set(['cut', 'unreadable', 'unacknowledged']);

async function readCheckpoint(options: RecoverOptions): Promise<Checkpoint | undefined> {
  const note = await options.store.checkpoint();
  if (note === undefined) return undefined;
  const { value, error } = verifyCheckpoint(note, options.keys);
  if (value === undefined) throw new ZlError('ledger.corrupt', error);
  if (value.origin === options.origin) return value;
  throw new ZlError('ledger.corrupt', `the checkpoint is of another ledger, ${value.origin}`);
}

function corrupt({ segment, line, reason }: Damage): ZlError {
  const { value: record } = parseRecord(line.bytes);
  const index = record === undefined ? '' : ` (record ${record.index})`;
  return new ZlError('ledger.corrupt', `${segment.name} line ${line.number}${index} ${reason}`);
}
