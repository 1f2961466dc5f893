import { counted } from '@zerolatency/service/counted';
import { strictBase64, toBase64, type Verifier } from '@zerolatency/signing';
import { type Checkpoint, type CheckpointVerdict, verifyCheckpoint } from './checkpoint.ts';
import { nodeHash } from './tree.ts';

/** Leaves whose root is one line of a proof. */
export interface LeafRange {
  readonly from: number;
  readonly to: number;
}

/** Shows that a checkpoint covers a record: a C2SP tlog-proof. */
interface InclusionProof {
  readonly kind: 'inclusion';
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
  readonly note: string;
}

/** Shows that a checkpoint continues an earlier one: the body of add-checkpoint in C2SP tlog-witness. */
interface ConsistencyProof {
  readonly kind: 'consistency';
  readonly earlierSize: number;
  readonly hashes: readonly Uint8Array[];
  readonly note: string;
}

export type Proof = InclusionProof | ConsistencyProof;

const TLOG_PROOF = 'c2sp.org/tlog-proof@v1';

/** One for each bit of a size, with room for C2SP's bound. */
const MAX_HASHES = 63;
const MAX_PROOF_CHARS = 32 * 1024;

export function proofText(proof: Proof): string {
  const head =
    proof.kind === 'inclusion'
      ? `${TLOG_PROOF}\nindex ${proof.index}\n`
      : `old ${proof.earlierSize}\n`;
  return `${head}${proof.hashes.map((hash) => `${toBase64(hash)}\n`).join('')}\n${proof.note}`;
}

/** Undefined when the text is neither kind of proof. */
export function parseProof(text: string): Proof | undefined {
  if (text.length > MAX_PROOF_CHARS) return undefined;
  const { kind, count, lines = '', note = '' } = PROOF.exec(text)?.groups ?? {};
  if (kind === undefined || !Number.isSafeInteger(Number(count))) return undefined;
  const encoded = lines.split('\n').slice(0, -1);
  const hashes = encoded.flatMap((line) => strictBase64(line) ?? []);
  const isWhole = hashes.length === encoded.length && hashes.every(({ length }) => length === 32);
  if (!isWhole || hashes.length > MAX_HASHES) return undefined;
  return kind === 'old'
    ? { kind: 'consistency', earlierSize: Number(count), hashes, note }
    : { kind: 'inclusion', index: Number(count), hashes, note };
}

/** The extra data that a tlog-proof may have is not authenticated, and nothing here uses it. */
const PROOF =
  /^(?:c2sp\.org\/tlog-proof@v1\n(?:extra [^\n]+\n)?(?=index)|(?=old))(?<kind>index|old) (?<count>0|[1-9]\d*)\n(?<lines>(?:[^\n]+\n)*)\n(?<note>[\s\S]+)$/;

export type ProofVerdict =
  | { readonly value: Checkpoint; readonly error?: undefined }
  | Exclude<CheckpointVerdict, { readonly error?: undefined }>;

/** Whether the record with this leaf hash is in the tree of a checkpoint that one of the keys signed. */
export function checkInclusion(
  proof: InclusionProof,
  { leafHash, keys }: { readonly leafHash: Uint8Array; readonly keys: readonly Verifier[] },
): ProofVerdict {
  const signed = verifyCheckpoint(proof.note, keys);
  if (signed.value === undefined) return signed;
  const root = rootAbove(leafHash, proof, signed.value.size);
  return root !== undefined && isSame(root, signed.value.root)
    ? signed
    : { error: `record ${proof.index} is not in the tree of the checkpoint` };
}

/** Whether the checkpoint of the proof covers all records of the earlier one, unchanged. */
export function checkConsistency(
  proof: ConsistencyProof,
  { earlier, keys }: { readonly earlier: Checkpoint; readonly keys: readonly Verifier[] },
): ProofVerdict {
  const signed = verifyCheckpoint(proof.note, keys);
  if (signed.value === undefined) return signed;
  const { origin, ledgerId, size, root } = signed.value;
  if (origin !== earlier.origin || ledgerId !== earlier.ledgerId) {
    return { error: `the checkpoints are of two ledgers, ${earlier.ledgerId} and ${ledgerId}` };
  }
  if (proof.earlierSize !== earlier.size) {
    return {
      error: `the proof starts at ${counted(proof.earlierSize, 'record')}, not at ${earlier.size}`,
    };
  }
  const roots = rootsOver(proof.hashes, { earlier, size });
  return roots && isSame(roots.earlier, earlier.root) && isSame(roots.later, root)
    ? signed
    : {
        error: `the checkpoint over ${counted(size, 'record')} does not continue that over ${earlier.size}`,
      };
}

/** RFC 6962 section 2.1.1, in the order of the proof: the sibling of the leaf first. */
export function inclusionRanges(index: number, size: number, from = 0): LeafRange[] {
  if (size <= 1) return [];
  const left = leftOf(size);
  return index < left
    ? [...inclusionRanges(index, left, from), { from: from + left, to: from + size }]
    : [...inclusionRanges(index - left, size - left, from + left), { from, to: from + left }];
}

/** RFC 6962 section 2.1.2, for sizes above 0. */
export function consistencyRanges(earlier: number, size: number): LeafRange[] {
  const under = (old: number, { from, to }: LeafRange, isEarlierTree: boolean): LeafRange[] => {
    if (old === to - from) return isEarlierTree ? [] : [{ from, to }];
    const middle = from + leftOf(to - from);
    return old <= middle - from
      ? [...under(old, { from, to: middle }, isEarlierTree), { from: middle, to }]
      : [...under(old - (middle - from), { from: middle, to }, false), { from, to: middle }];
  };
  return under(earlier, { from: 0, to: size }, true);
}

export function rootAbove(
  leaf: Uint8Array,
  { index, hashes }: Pick<InclusionProof, 'index' | 'hashes'>,
  size: number,
): Uint8Array | undefined {
  if (index >= size) return undefined;
  const ranges = inclusionRanges(index, size);
  if (ranges.length !== hashes.length) return undefined;
  return hashes.reduce(
    (root, hash, i) =>
      (ranges[i]?.from ?? 0) > index ? nodeHash(root, hash) : nodeHash(hash, root),
    leaf,
  );
}

interface Roots {
  readonly earlier: Uint8Array;
  readonly later: Uint8Array;
}

/** Both trees are built from the same hashes, so the later holds what the earlier held. */
export function rootsOver(
  hashes: readonly Uint8Array[],
  { earlier, size }: { readonly earlier: Checkpoint; readonly size: number },
): Roots | undefined {
  if (earlier.size > size || earlier.size === 0) return undefined;
  const ranges = consistencyRanges(earlier.size, size);
  if (ranges.length !== hashes.length) return undefined;
  // A tree that is a subtree of the later one is not repeated in the proof.
  const isSubtree = (ranges[0]?.from ?? earlier.size) >= earlier.size;
  const [first, ...rest] = isSubtree ? [earlier.root, ...hashes] : hashes;
  if (first === undefined) return undefined;
  const sides = isSubtree ? ranges : ranges.slice(1);
  return rest.reduce<Roots>(
    (roots, hash, i) =>
      (sides[i]?.from ?? 0) >= earlier.size
        ? { earlier: roots.earlier, later: nodeHash(roots.later, hash) }
        : { earlier: nodeHash(hash, roots.earlier), later: nodeHash(hash, roots.later) },
    { earlier: first, later: first },
  );
}

/** The largest power of two below the size. */
function leftOf(size: number): number {
  let left = 1;
  while (left * 2 < size) left *= 2;
  return left;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a).equals(b);
}
