import { ZlError } from '@zerolatency/errors';
import { counted } from '@zerolatency/service/counted';
import { toBase64 } from '@zerolatency/signing';
import { Chain } from './chain.ts';
import { type Checkpoint, claimedCheckpoint } from './checkpoint.ts';
import { sourceOf } from './file-store.ts';
import {
  consistencyRanges,
  inclusionRanges,
  type LeafRange,
  proofText,
  rootAbove,
  rootsOver,
} from './proof.ts';
import { parseRecord } from './record.ts';
import type { Segment } from './segments.ts';
import type { LedgerSource } from './store.ts';

import { leafHash, MerkleFrontier } from './tree.ts';

/** A record by its place, or by its leaf hash in hexadecimal, which is the audit id of a turn. */
export type ProvenRecord = { readonly index: number } | { readonly leafHash: string };

/**
 * A tlog-proof of the record, under the ledger's own checkpoint or one kept elsewhere. Reads
 * from the record's segment on, also while a host writes.
 */
export async function proveInclusion(
  ledger: string | LedgerSource,
  record: ProvenRecord,
  kept?: string,
): Promise<string> {
  const source = sourceOf(ledger);
  const { note, checkpoint } = await checkpointOf(source, kept);
  const { size } = checkpoint;
  const index = 'index' in record ? record.index : await indexOf(source, record.leafHash, size);
  if (index >= size) throw notCovered(`record ${index} is not covered`, size);
  const self = { from: index, to: index + 1 };
  const ranges = [self, ...inclusionRanges(index, size)];
  const [leaf, ...hashes] = await rootsIn(source, ranges, { size, unsummed: index });
  const root = leaf && rootAbove(leaf, { index, hashes }, size);
  assertRoot(root, checkpoint);
  return proofText({ kind: 'inclusion', index, hashes, note });
}

/** Proves that the ledger's own checkpoint, or a later one kept elsewhere, continues the earlier one. */
export async function proveConsistency(
  ledger: string | LedgerSource,
  earlierNote: string,
  kept?: string,
): Promise<string> {
  const source = sourceOf(ledger);
  const { note, checkpoint } = await checkpointOf(source, kept);
  const earlier = claimed(earlierNote);
  if (earlier.ledgerId !== checkpoint.ledgerId) {
    const ids = `${earlier.ledgerId}, and this one is ${checkpoint.ledgerId}`;
    throw new ZlError('config.invalid', `the earlier checkpoint is of ledger ${ids}`);
  }
  const { size: earlierSize } = earlier;
  const { size } = checkpoint;
  if (earlierSize > size) throw notCovered(`the earlier one covers ${earlierSize}`, size);
  const ranges = consistencyRanges(earlierSize, size);
  const hashes = await rootsIn(source, ranges, { size, unsummed: earlierSize });
  const roots = rootsOver(hashes, { earlier, size });
  assertRoot(roots?.earlier, earlier);
  assertRoot(roots?.later, checkpoint);
  return proofText({ kind: 'consistency', earlierSize, hashes, note });
}

async function checkpointOf(source: LedgerSource, kept: string | undefined) {
  const note = kept ?? (await source.checkpoint());
  if (note === undefined)
    throw new ZlError('config.invalid', `there is no checkpoint in ${source.name}`);
  return { note, checkpoint: claimed(note) };
}

function claimed(note: string): Checkpoint {
  const checkpoint = claimedCheckpoint(note);
  if (checkpoint !== undefined && checkpoint.size > 0) return checkpoint;
  throw new ZlError('config.invalid', 'the checkpoint is not the signed note of a ledger');
}

async function indexOf(source: LedgerSource, hash: string, size: number): Promise<number> {
  const segments = await source.segments();
  for await (const { index, leaf } of leavesOf(source, segments, { from: 0, to: size })) {
    if (Buffer.from(leaf).toString('hex') === hash) return index;
  }
  throw notCovered(`no record has the audit id ${hash}`, size);
}

/** The root over each range, in one pass from the segment of the first record that none may sum up. */
async function rootsIn(
  source: LedgerSource,
  ranges: readonly LeafRange[],
  { size, unsummed }: { readonly size: number; readonly unsummed: number },
): Promise<Uint8Array[]> {
  const segments = await source.segments();
  // What lies before it is whole subtrees of the ranges, which its segment sums up.
  const start = segments.findLastIndex(({ firstIndex }) => firstIndex <= unsummed);
  const rest = segments.slice(Math.max(0, start));
  const before = await frontierBefore(source, rest[0]);
  const parts = ranges.map((range) => ({ ...range, tree: before.within(range) }));
  for await (const { index, leaf } of leavesOf(source, rest, { from: before.size, to: size })) {
    for (const { from, to, tree } of parts) if (index >= from && index < to) tree.push(leaf);
  }
  return parts.map(({ tree }) => tree.root());
}

/** As the first record of the segment sums it up; whatever it says is held to the checkpoint. */
async function frontierBefore(
  source: LedgerSource,
  segment: Segment | undefined,
): Promise<MerkleFrontier> {
  if (segment === undefined) return new MerkleFrontier();
  for await (const { bytes } of source.lines(segment)) {
    const { value: first } = parseRecord(bytes);
    const chain = first && Chain.before(first);
    if (chain !== undefined) return chain.frontier;
    break;
  }
  throw new ZlError('ledger.corrupt', `${segment.name} does not begin as a segment does`);
}

async function* leavesOf(
  source: LedgerSource,
  segments: readonly Segment[],
  { from, to }: LeafRange,
) {
  let index = from;
  for (const segment of segments) {
    for await (const line of source.lines(segment)) {
      if (index >= to || !line.isWhole) return;
      yield { index, leaf: leafHash(line.bytes) };
      index++;
    }
  }
}

function assertRoot(root: Uint8Array | undefined, { size, root: signed }: Checkpoint): void {
  if (root !== undefined && toBase64(root) === toBase64(signed)) return;
  const what = `the records are not those of the checkpoint over ${size}`;
  throw new ZlError('ledger.corrupt', `${what}; zl audit verify names the first that differs`);
}

function notCovered(what: string, size: number): ZlError {
  return new ZlError(
    'config.invalid',
    `${what}, and the checkpoint covers ${counted(size, 'record')}. A running host signs a new one within a second`,
  );
}
