import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import type { Verifier } from '@zerolatency/signing';
import { Chain, type ChainFault } from './chain.ts';
import { type Checkpoint, verifyCheckpoint } from './checkpoint.ts';
import { type LedgerRecord, parseRecord } from './record.ts';
import { type Line, listSegments, readLines, type Segment, syncDirectory } from './segments.ts';

export const CHECKPOINT_FILE = 'checkpoint';

export interface Recovered {
  readonly chain: Chain;
  /** To be appended to; none in a new ledger. */
  readonly segment?: Segment;
  /** Of its records, beside the first one that sums up the past. */
  readonly segmentBytes: number;
  /** Bytes of a write that a crash had cut short, and that nobody was told of. */
  readonly cutBytes: number;
  readonly checkpoint?: Checkpoint;
}

interface Damage {
  readonly segment: Segment;
  readonly line: Line;
  readonly kind: ChainFault['kind'] | 'checkpoint';
  readonly reason: string;
}

/** Reads what has to be read to go on: from the segment that the last checkpoint vouches for. */
export async function recover(options: {
  readonly dir: string;
  readonly origin: string;
  readonly keys: readonly Verifier[];
}): Promise<Recovered> {
  const { dir } = options;
  const checkpoint = await readCheckpoint(options);
  const segments = await listSegments(dir);
  const from = segments.findLastIndex((segment) => segment.firstIndex <= (checkpoint?.size ?? 0));
  const vouched = segments.slice(Math.max(0, from));
  const scan = new Scan(checkpoint);
  let cutBytes = 0;
  for (const [i, segment] of vouched.entries()) {
    const damage = await scan.read(segment);
    if (damage === undefined) continue;
    if (i !== vouched.length - 1 || !(await isTorn(damage, scan, checkpoint)))
      throw corrupt(damage);
    cutBytes = await cut(damage);
  }
  if (scan.size < (checkpoint?.size ?? 0)) {
    throw new ZlError('ledger.corrupt', `record ${scan.size} is missing: a checkpoint covers it`);
  }
  const last = vouched.at(-1);
  if (last === undefined) return { chain: Chain.empty(), segmentBytes: 0, cutBytes, checkpoint };
  if (scan.segmentLines > 0) {
    return {
      chain: scan.chain,
      segment: last,
      segmentBytes: scan.segmentBytes,
      cutBytes,
      checkpoint,
    };
  }
  // A crash came between making the file and its first record.
  await rm(last.path);
  await syncDirectory(dir);
  const rest = await recover(options);
  return { ...rest, cutBytes: rest.cutBytes + cutBytes };
}

class Scan {
  readonly #checkpoint: Checkpoint | undefined;
  #chain: Chain | undefined;
  #firstIndex = 0;
  /** Good ones of the segment read last. */
  segmentLines = 0;
  segmentBytes = 0;

  constructor(checkpoint: Checkpoint | undefined) {
    this.#checkpoint = checkpoint;
  }

  get chain(): Chain {
    return this.#chain ?? Chain.empty();
  }

  get size(): number {
    return this.#chain?.size ?? this.#firstIndex;
  }

  /** Until the first line that does not fit. */
  async read(segment: Segment): Promise<Damage | undefined> {
    this.segmentLines = 0;
    this.segmentBytes = 0;
    if (this.#chain === undefined) this.#firstIndex = segment.firstIndex;
    for await (const line of readLines(segment.path)) {
      const isFirst = this.segmentLines === 0;
      if (isFirst) this.#begin(line, segment);
      const { fault } = this.chain.step(line, isFirst);
      if (fault !== undefined) return { segment, line, ...fault };
      if (!this.#matchesCheckpoint()) return { segment, line, ...OTHER_ROOT };
      this.segmentLines++;
      if (!isFirst) this.segmentBytes += line.bytes.byteLength + 1;
    }
    return undefined;
  }

  /** What is no beginning of a segment leaves no chain, and is a fault in the step that follows. */
  #begin(line: Line, segment: Segment): void {
    if (this.#chain !== undefined || !line.isWhole) return;
    const record = parseRecord(line.bytes);
    if (record?.index !== segment.firstIndex) return;
    this.#chain = Chain.before(record);
    if (!this.#matchesCheckpoint()) throw corrupt({ segment, line, ...OTHER_ROOT });
  }

  #matchesCheckpoint(): boolean {
    if (this.#checkpoint === undefined || this.#checkpoint.size !== this.#chain?.size) return true;
    return Buffer.from(this.#checkpoint.root).equals(this.#chain.frontier.root());
  }
}

const OTHER_ROOT = { kind: 'checkpoint', reason: 'differs from the checkpoint' } as const;

/**
 * Whether the damage can be a write that a crash cut short: it is no record,
 * no checkpoint covers it, and no later line was written once it was on disk.
 */
async function isTorn(damage: Damage, scan: Scan, checkpoint?: Checkpoint): Promise<boolean> {
  if (damage.kind !== 'cut' && damage.kind !== 'unreadable') return false;
  if (checkpoint !== undefined && checkpoint.size > scan.size) return false;
  for await (const line of readLines(damage.segment.path)) {
    if (line.start < damage.line.start) continue;
    const record: LedgerRecord | undefined = parseRecord(line.bytes);
    if (record !== undefined && record.synced > scan.size) return false;
  }
  return true;
}

async function cut({ segment, line }: Damage): Promise<number> {
  const handle = await open(segment.path, 'r+');
  try {
    const { size } = await handle.stat();
    await handle.truncate(line.start);
    await handle.sync();
    return size - line.start;
  } finally {
    await handle.close();
  }
}

async function readCheckpoint(options: {
  readonly dir: string;
  readonly origin: string;
  readonly keys: readonly Verifier[];
}): Promise<Checkpoint | undefined> {
  const note = await readCheckpointNote(options.dir);
  if (note === undefined) return undefined;
  const { value, error } = verifyCheckpoint(note, options.keys);
  if (value === undefined) throw new ZlError('ledger.corrupt', error);
  if (value.origin === options.origin) return value;
  throw new ZlError('ledger.corrupt', `the checkpoint is of another ledger, ${value.origin}`);
}

export async function readCheckpointNote(dir: string): Promise<string | undefined> {
  try {
    return await readFile(join(dir, CHECKPOINT_FILE), 'utf8');
  } catch (reason) {
    if (reason instanceof Error && 'code' in reason && reason.code === 'ENOENT') return undefined;
    throw reason;
  }
}

function corrupt({ segment, line, reason }: Damage): ZlError {
  const record = parseRecord(line.bytes);
  const index = record === undefined ? '' : ` (record ${record.index})`;
  return new ZlError('ledger.corrupt', `${segment.name} line ${line.number}${index} ${reason}`);
}
