import { stat } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import type { Verifier } from '@zerolatency/signing';
import { Chain, type ChainFault } from './chain.ts';
import { type Checkpoint, readCheckpointNote, verifyCheckpoint } from './checkpoint.ts';
import type { LedgerDisk } from './disk.ts';
import { parseRecord } from './record.ts';
import { type Line, listSegments, readLines, type Segment } from './segments.ts';

export interface Recovered {
  readonly chain: Chain;
  /** The one to append to; undefined in a new ledger. */
  readonly segment?: Segment;
  /** Without the segment's first record. */
  readonly segmentBytes: number;
  /** Bytes of a write that a crash cut short before it was acknowledged. */
  readonly cutBytes: number;
  readonly checkpoint?: Checkpoint;
}

/** What a ledger had acknowledged when it failed. */
export interface Acknowledged {
  readonly ledgerId: string;
  readonly size: number;
}

interface RecoverOptions {
  readonly dir: string;
  readonly origin: string;
  readonly keys: readonly Verifier[];
  readonly disk: LedgerDisk;
  /** Records beyond are cut: after a failed fsync they may be in the page cache and not on disk. */
  readonly acknowledged?: Acknowledged | undefined;
}

interface Damage {
  readonly segment: Segment;
  readonly line: Line;
  readonly kind: ChainFault['kind'] | 'checkpoint' | 'unacknowledged';
  readonly reason: string;
}

/** Reads what is needed to append again: from the segment that the last checkpoint covers. */
export async function recover(options: RecoverOptions): Promise<Recovered> {
  const { dir, disk, acknowledged } = options;
  const checkpoint = await readCheckpoint(options);
  const segments = await listSegments(dir);
  const from = segments.findLastIndex((segment) => segment.firstIndex <= (checkpoint?.size ?? 0));
  const unchecked = segments.slice(Math.max(0, from));
  const scan = new Scan(checkpoint, acknowledged?.size);
  let cutBytes = 0;
  for (const [i, segment] of unchecked.entries()) {
    const damage = await scan.read(segment);
    if (damage === undefined) continue;
    if (acknowledged !== undefined) assertSame(acknowledged, scan);
    const isTail = i === unchecked.length - 1 || damage.kind === 'unacknowledged';
    if (!isTail || !(await isTorn(damage, scan, checkpoint))) throw corrupt(damage);
    await removeSegments(unchecked.splice(i + 1), options);
    cutBytes = await cut(damage, disk);
  }
  if (scan.size < (checkpoint?.size ?? 0)) {
    throw new ZlError('ledger.corrupt', `record ${scan.size} is missing: a checkpoint covers it`);
  }
  const { chain } = scan;
  if (acknowledged !== undefined) assertSame(acknowledged, scan);
  if (checkpoint !== undefined && chain.size > 0 && chain.ledgerId !== checkpoint.ledgerId) {
    throw new ZlError(
      'ledger.corrupt',
      `the records are of ledger ${chain.ledgerId}, the checkpoint of ${checkpoint.ledgerId}`,
    );
  }
  const last = unchecked.at(-1);
  if (last === undefined) return { chain: Chain.empty(), segmentBytes: 0, cutBytes, checkpoint };
  if (scan.segmentLines > 0) {
    const { segmentBytes } = scan;
    return { chain, segment: last, segmentBytes, cutBytes, checkpoint };
  }
  // A crash fell between the creation of the file and its first record.
  await removeSegments([last], options);
  const rest = await recover(options);
  return { ...rest, cutBytes: rest.cutBytes + cutBytes };
}

/** A folder that was replaced or restored while the ledger was open is not continued. */
function assertSame({ ledgerId, size }: Acknowledged, scan: Scan): void {
  if (size === 0 || (scan.size >= size && scan.chain.ledgerId === ledgerId)) return;
  throw new ZlError(
    'ledger.corrupt',
    `the folder held ${size} records of ledger ${ledgerId} and now holds ${scan.size}: it was removed, replaced or cut. Restore it, or restart to go on with what is there`,
  );
}

class Scan {
  readonly #checkpoint: Checkpoint | undefined;
  readonly #maxSize: number;
  #chain: Chain | undefined;
  #firstIndex = 0;
  /** Valid lines of the segment read last. */
  segmentLines = 0;
  segmentBytes = 0;

  constructor(checkpoint: Checkpoint | undefined, maxSize = Number.POSITIVE_INFINITY) {
    this.#checkpoint = checkpoint;
    this.#maxSize = maxSize;
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
    for await (const line of readLines(segment.path)) {
      const isFirst = this.segmentLines === 0;
      if (this.size >= this.#maxSize) return { segment, line, ...UNACKNOWLEDGED };
      if (isFirst) this.#begin(line, segment);
      const { fault } = this.chain.step(line, isFirst);
      if (fault !== undefined) return { segment, line, ...fault };
      if (!this.#matchesCheckpoint()) return { segment, line, ...OTHER_ROOT };
      this.segmentLines++;
      if (!isFirst) this.segmentBytes += line.bytes.byteLength + 1;
    }
    return undefined;
  }

  /** A line that cannot begin a segment leaves no chain, and fails in the step that follows. */
  #begin(line: Line, segment: Segment): void {
    if (this.#chain !== undefined || !line.isWhole) return;
    const { value: record } = parseRecord(line.bytes);
    if (record?.index !== segment.firstIndex) return;
    this.#chain = Chain.before(record);
    if (!this.#matchesCheckpoint()) throw corrupt({ segment, line, ...OTHER_ROOT });
  }

  #matchesCheckpoint(): boolean {
    if (this.#checkpoint === undefined || this.#checkpoint.size !== this.#chain?.size) return true;
    return Buffer.from(this.#checkpoint.root).equals(this.#chain.frontier.root());
  }
}

const UNACKNOWLEDGED = { kind: 'unacknowledged', reason: 'was not acknowledged' } as const;
const OTHER_ROOT = { kind: 'checkpoint', reason: 'differs from the checkpoint' } as const;

const CUTTABLE: ReadonlySet<Damage['kind']> = new Set(['cut', 'unreadable', 'unacknowledged']);

/**
 * Whether the damage can be a write that a crash or failure cut short: it is not a record that
 * was acknowledged, no checkpoint covers it, and no later line says that it was on disk.
 */
async function isTorn(damage: Damage, scan: Scan, checkpoint?: Checkpoint): Promise<boolean> {
  if (!CUTTABLE.has(damage.kind)) return false;
  if (checkpoint !== undefined && checkpoint.size > scan.size) return false;
  for await (const line of readLines(damage.segment.path)) {
    if (line.start < damage.line.start) continue;
    const { value: record } = parseRecord(line.bytes);
    if (record !== undefined && record.synced > scan.size) return false;
  }
  return true;
}

async function removeSegments(
  segments: readonly Segment[],
  { dir, disk }: RecoverOptions,
): Promise<void> {
  if (segments.length === 0) return;
  for (const { path } of segments) await disk.remove(path);
  await disk.syncFolder(dir);
}

async function cut({ segment, line }: Damage, disk: LedgerDisk): Promise<number> {
  const { size } = await stat(segment.path);
  const file = await disk.open(segment.path);
  try {
    await file.truncate(line.start);
  } finally {
    await file.close();
  }
  return size - line.start;
}

async function readCheckpoint(options: RecoverOptions): Promise<Checkpoint | undefined> {
  const note = await readCheckpointNote(options.dir);
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
