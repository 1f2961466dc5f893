import type { Verifier } from '@zerolatency/signing';
import { type KeptBundle, readBundle } from './bundles.ts';
import { CallHistory, type Unchecked } from './call-history.ts';
import { Chain, type ChainFault } from './chain.ts';
import {
  CHECKPOINT_FILE,
  type Checkpoint,
  type CheckpointVerdict,
  verifyCheckpoint,
} from './checkpoint.ts';
import { sourceOf } from './file-store.ts';
import type { ReceiptKeys } from './read-receipt.ts';
import { type LedgerRecord, parseRecord, type RecordKind } from './record.ts';
import type { Line, Segment } from './segments.ts';
import type { LedgerSource } from './store.ts';

import { leafHash, type MerkleFrontier } from './tree.ts';

export interface VerifyLedgerOptions {
  /** Public keys that may have signed checkpoints. */
  readonly keys: readonly Verifier[];
  /** The origin that checkpoints must name; any when not given. */
  readonly origin?: string;
  /** Checkpoints kept elsewhere: the ledger must still hold what they cover. */
  readonly knownCheckpoints?: readonly string[];
  /** Also checks receipts, and that the records of calls, turns and policies agree. */
  readonly receiptKeys?: ReceiptKeys;
}

export interface LedgerReport {
  /** `unchecked`: nothing is altered, and something could not be checked. */
  readonly verdict: 'valid' | 'altered' | 'unchecked';
  readonly ok: boolean;
  readonly origin?: string;
  /** As the first record names it; empty when that cannot be read. */
  readonly ledgerId: string;
  /** Valid records before the first bad one. */
  readonly records: number;
  readonly byKind: Readonly<Partial<Record<RecordKind, number>>>;
  /** How many records the newest checkpoint covers. */
  readonly checkpointSize: number;
  /** Base64, over the records counted. */
  readonly root: string;
  /** Records above the newest checkpoint. */
  readonly unsigned: number;
  /** Records that a crash had left unsigned, and that a host went on with. */
  readonly adopted: number;
  /** Decisions that were made again with the bundles kept beside the ledger. */
  readonly decisions: number;
  readonly unchecked: Unchecked & { readonly checkpointKeys: readonly string[] };
  /** Bytes of a write under way, or cut short by a crash before it was acknowledged. */
  readonly tornBytes: number;
  readonly openIntents: number;
  readonly firstBad?: BadRecord;
}

export interface BadRecord {
  /** Absent when the checkpoint itself is at fault. */
  readonly index?: number;
  readonly file?: string;
  readonly line?: number;
  readonly reason: string;
}

/** Offline, in one pass and little memory. Reads a ledger that is being written as well. */
export async function verifyLedger(
  ledger: string | LedgerSource,
  options: VerifyLedgerOptions,
): Promise<LedgerReport> {
  const { keys, origin, knownCheckpoints = [] } = options;
  const source = sourceOf(ledger);
  const own = await source.checkpoint();
  const checkpoints = collectCheckpoints([own, ...knownCheckpoints], { keys, origin });
  const calls = options.receiptKeys && new CallHistory(options.receiptKeys);
  const pass = new Pass(source, { checkpoints, calls });
  const segments = await source.segments();
  let bad: BadRecord | undefined;
  for (const [i, segment] of segments.entries()) {
    bad = await pass.read(segment, i === segments.length - 1);
    if (bad !== undefined) break;
  }
  return pass.report(bad ?? checkpoints.problem);
}

class Pass {
  readonly #source: LedgerSource;
  readonly #checkpoints: Checkpoints;
  readonly #calls: CallHistory | undefined;
  readonly #chain = Chain.empty();
  readonly #byKind: Partial<Record<RecordKind, number>> = {};
  #tornBytes = 0;
  #adopted = 0;
  /** Before the last record and the one before that, either of which may turn out to be bad. */
  #before: readonly MerkleFrontier[] = [];
  #lastKind: RecordKind | undefined;

  constructor(
    source: LedgerSource,
    { checkpoints, calls }: { checkpoints: Checkpoints; calls: CallHistory | undefined },
  ) {
    this.#source = source;
    this.#checkpoints = checkpoints;
    this.#calls = calls;
  }

  /** Stops at the first bad line. */
  async read(segment: Segment, isLast: boolean): Promise<BadRecord | undefined> {
    let isFirst = true;
    let suspect: Suspect | undefined;
    for await (const line of this.#source.lines(segment)) {
      if (suspect !== undefined) return this.#blame(suspect, line);
      this.#before = [this.#chain.frontier.copy(), ...this.#before.slice(0, 1)];
      const step = this.#chain.step(line, isFirst);
      isFirst = false;
      if (step.fault === undefined) {
        const reason = this.#count(step.record, await this.#bundleOf(step.record));
        if (reason !== undefined)
          return placed(segment, line, { index: step.record.index, reason });
      } else if (step.fault.kind === 'cut' && isLast) {
        this.#tornBytes = line.bytes.byteLength;
      } else {
        suspect = { segment, line, fault: step.fault };
      }
    }
    return suspect && this.#blame(suspect);
  }

  report(found: BadRecord | undefined): LedgerReport {
    const intact = this.#before.find((one) => one.size === found?.index) ?? this.#chain.frontier;
    const records = intact.size;
    const { origin, size, checkpointKeys } = this.#checkpoints;
    const missing = { index: records, reason: `is missing: a checkpoint covers ${size}` };
    const firstBad = found ?? (size > records ? missing : undefined);
    const unchecked = { ...NOTHING_UNCHECKED, ...this.#calls?.unchecked, checkpointKeys };
    const isChecked = Object.values(unchecked).every((left) => left.length === 0);
    const unaltered = isChecked ? 'valid' : 'unchecked';
    const verdict = firstBad === undefined ? unaltered : 'altered';
    return {
      verdict,
      ok: verdict === 'valid',
      origin,
      ledgerId: this.#chain.ledgerId,
      records,
      byKind: this.#byKind,
      checkpointSize: size,
      root: Buffer.from(intact.root()).toString('base64'),
      unsigned: Math.max(0, records - size),
      adopted: this.#adopted,
      decisions: this.#calls?.decisions ?? 0,
      unchecked,
      tornBytes: this.#tornBytes,
      openIntents: this.#chain.openIntentCount,
      firstBad,
    };
  }

  async #bundleOf({ kind, body }: LedgerRecord): Promise<KeptBundle | undefined> {
    if (this.#calls === undefined || kind !== 'policy.changed') return undefined;
    const { policyDigest } = body;
    return policyDigest === undefined ? undefined : readBundle(this.#source, policyDigest);
  }

  #count(record: LedgerRecord, bundle: KeptBundle | undefined): string | undefined {
    const { ledgerId = this.#chain.ledgerId, roots } = this.#checkpoints;
    if (this.#chain.ledgerId !== ledgerId) {
      return `names ledger ${this.#chain.ledgerId}, and the checkpoint ledger ${ledgerId}`;
    }
    const root = roots.get(this.#chain.size);
    if (root !== undefined && root !== base64Root(this.#chain)) {
      return 'differs from the checkpoint';
    }
    const fault = this.#calls?.faultIn(record, bundle);
    if (fault !== undefined) return fault;
    if (record.kind === 'ledger.adopted') this.#adopted += record.body.records;
    this.#byKind[record.kind] = (this.#byKind[record.kind] ?? 0) + 1;
    this.#lastKind = record.kind;
    return undefined;
  }

  /** When two records do not fit, the first was altered if the second fits the one after it. */
  #blame({ segment, line, fault }: Suspect, after?: Line): BadRecord {
    const next = after && parseRecord(after.bytes).value;
    const isIntact = next?.prev === Buffer.from(leafHash(line.bytes)).toString('hex');
    const index = this.#chain.size;
    if (fault.kind === 'prev' && isIntact && line.number > 1) {
      const kind = this.#lastKind;
      if (kind !== undefined) this.#byKind[kind] = (this.#byKind[kind] ?? 1) - 1;
      return { index: index - 1, file: segment.name, line: line.number - 1, reason: 'was altered' };
    }
    return placed(segment, line, { index, reason: fault.reason });
  }
}

interface Suspect {
  readonly segment: Segment;
  readonly line: Line;
  readonly fault: ChainFault;
}

interface Checkpoints {
  readonly origin?: string;
  readonly ledgerId?: string;
  /** The largest that a valid checkpoint covers. */
  readonly size: number;
  /** Base64 roots by size. */
  readonly roots: ReadonlyMap<number, string>;
  /** Key hashes in notes whose signatures cannot be checked. */
  readonly checkpointKeys: readonly string[];
  readonly problem?: BadRecord;
}

/** The first note is the ledger's own, which must exist. */
function collectCheckpoints(
  notes: readonly (string | undefined)[],
  { keys, origin }: Pick<VerifyLedgerOptions, 'keys' | 'origin'>,
): Checkpoints {
  const roots = new Map<number, string>();
  const problems: string[] = [];
  const checkpointKeys = new Set<string>();
  let name = origin;
  let id: string | undefined;
  for (const note of notes) {
    const verdict = note === undefined ? NO_CHECKPOINT : verifyCheckpoint(note, keys);
    const claimed = verdict.error === undefined ? undefined : verdict.claimed;
    const value: Checkpoint | undefined = verdict.value ?? claimed?.checkpoint;
    for (const keyHash of claimed?.keyHashes ?? []) checkpointKeys.add(keyHash);
    if (value === undefined) {
      problems.push(verdict.error ?? '');
      continue;
    }
    name ??= value.origin;
    id ??= value.ledgerId;
    if (value.origin !== name) problems.push(`the checkpoint is of ${value.origin}, not ${name}`);
    if (value.ledgerId !== id) {
      problems.push(`two checkpoints name different ledgers, ${id} and ${value.ledgerId}`);
      continue;
    }
    const root = Buffer.from(value.root).toString('base64');
    if ((roots.get(value.size) ?? root) !== root) {
      problems.push('two checkpoints contradict each other');
    }
    roots.set(value.size, root);
  }
  const [reason] = problems;
  const problem = reason === undefined ? undefined : { file: CHECKPOINT_FILE, reason };
  const size = Math.max(0, ...roots.keys());
  return {
    ...{ origin: name, ledgerId: id, size, roots, problem },
    checkpointKeys: [...checkpointKeys],
  };
}

const NO_CHECKPOINT: CheckpointVerdict = { error: 'there is no checkpoint' };
const NOTHING_UNCHECKED: Unchecked = { missingKeys: [], newer: [], bundles: [] };

function base64Root(chain: Chain): string {
  return Buffer.from(chain.frontier.root()).toString('base64');
}

function placed(segment: Segment, line: Line, bad: BadRecord): BadRecord {
  return { ...bad, file: segment.name, line: line.number };
}
