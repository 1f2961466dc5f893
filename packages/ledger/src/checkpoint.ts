import { hash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import type { Signer, Verifier } from '@zerolatency/signing';
import { strictBase64, toBase64 } from '@zerolatency/signing';

/** A C2SP tlog-checkpoint: what the ledger held, in a form public tools can check. */
export interface Checkpoint {
  /** Names the ledger, and is the name of the key that signs for it. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

export type CheckpointVerdict =
  | { readonly value: Checkpoint; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** C2SP signed-note: the algorithm byte of Ed25519. */
const ED25519 = Buffer.of(0x01);
const KEY_HASH_BYTES = 4;

/** One origin, size, root and some co-signatures of witnesses. */
const MAX_CHECKPOINT_CHARS = 16 * 1024;

export function assertOrigin(origin: string): void {
  if (/^[^\s+]{1,200}$/u.test(origin)) return;
  throw new ZlError('config.invalid', 'a ledger origin has 1 to 200 characters, no space and no +');
}

export async function signCheckpoint(
  { origin, size, root }: Checkpoint,
  signer: Signer,
): Promise<string> {
  if (signer.algorithm !== 'Ed25519') {
    throw new ZlError('config.invalid', 'checkpoints are signed with an Ed25519 key');
  }
  const text = `${origin}\n${size}\n${toBase64(root)}\n`;
  const signature = Buffer.concat([
    keyHash(origin, signer.publicKey),
    await signer.sign(Buffer.from(text, 'utf8')),
  ]);
  return `${text}\n\u2014 ${origin} ${toBase64(signature)}\n`;
}

export function verifyCheckpoint(note: string, keys: readonly Verifier[]): CheckpointVerdict {
  if (note.length > MAX_CHECKPOINT_CHARS) return { error: 'the checkpoint is too long' };
  const split = note.indexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) return { error: 'the checkpoint is not a signed note' };
  const text = note.slice(0, split + 1);
  const checkpoint = parseText(text);
  if (checkpoint === undefined) return { error: 'the checkpoint has no origin, size and root' };
  const signatures = note.slice(split + 2, -1).split('\n');
  const bytes = Buffer.from(text, 'utf8');
  const isSigned = keys.some((key) =>
    signatures.some((line) => isSignedBy(line, bytes, { key, name: checkpoint.origin })),
  );
  return isSigned ? { value: checkpoint } : { error: 'no known key signed the checkpoint' };
}

/** As Go's sumdb/note and other tools take it: name+hash+key. */
export function noteVerifierKey(
  origin: string,
  { publicKey }: Pick<Verifier, 'publicKey'>,
): string {
  const key = Buffer.concat([ED25519, publicKey]);
  return `${origin}+${Buffer.from(keyHash(origin, publicKey)).toString('hex')}+${toBase64(key)}`;
}

function isSignedBy(line: string, text: Uint8Array, by: { key: Verifier; name: string }): boolean {
  const prefix = `\u2014 ${by.name} `;
  if (!line.startsWith(prefix)) return false;
  const bytes = strictBase64(line.slice(prefix.length));
  if (bytes === undefined) return false;
  if (by.key.algorithm !== 'Ed25519') return false;
  const expected = keyHash(by.name, by.key.publicKey);
  if (!expected.every((byte, i) => byte === bytes[i])) return false;
  return by.key.verify(text, bytes.subarray(KEY_HASH_BYTES));
}

function parseText(text: string): Checkpoint | undefined {
  const [origin, sizeText, rootText] = text.split('\n');
  if (!origin || sizeText === undefined || rootText === undefined) return undefined;
  const size = Number(sizeText);
  const root = strictBase64(rootText);
  const isSize = Number.isSafeInteger(size) && size >= 0 && String(size) === sizeText;
  return isSize && root?.length === 32 ? { origin, size, root } : undefined;
}

function keyHash(name: string, publicKey: Uint8Array): Uint8Array {
  const input = Buffer.concat([Buffer.from(`${name}\n`, 'utf8'), ED25519, publicKey]);
  return hash('sha256', input, 'buffer').subarray(0, KEY_HASH_BYTES);
}
