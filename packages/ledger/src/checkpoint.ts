import { hash } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { type Signer, strictBase64, toBase64, type Verifier } from '@zerolatency/signing';
import type { Anchor } from './floor.ts';
import type { LedgerStore, WriterLock } from './store.ts';

export const CHECKPOINT_FILE = 'checkpoint';

/** A C2SP tlog-checkpoint: what the ledger held, in a form that public tools can check. */
export interface Checkpoint extends Anchor {
  /** Chosen by the operator, such as zerolatency/host-1. */
  readonly origin: string;
}

export type CheckpointVerdict =
  | { readonly value: Checkpoint; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string; readonly claimed?: Claimed };

/** A note whose signers' public keys nobody gave. */
interface Claimed {
  readonly checkpoint: Checkpoint;
  /** As the note names its keys: 4 bytes in hexadecimal. */
  readonly keyHashes: readonly string[];
}

/** C2SP signed-note: the algorithm byte of Ed25519. */
const ED25519 = Buffer.of(0x01);
const KEY_HASH_BYTES = 4;

/** One origin, size, root and some co-signatures of witnesses. */
const MAX_CHECKPOINT_CHARS = 16 * 1024;

export function assertOrigin(origin: string): void {
  if (/^[^\s+]{1,200}$/u.test(origin)) return;
  throw new ZlError('config.invalid', 'a ledger origin has 1 to 200 characters, no space and no +');
}

/** The origin line of the note, unique to one ledger, and the name of the key that signs for it. */
function originLine({ origin, ledgerId }: Pick<Checkpoint, 'origin' | 'ledgerId'>): string {
  return `${origin}/${ledgerId}`;
}

export async function signCheckpoint(checkpoint: Checkpoint, signer: Signer): Promise<string> {
  if (signer.algorithm !== 'Ed25519') {
    throw new ZlError('config.invalid', 'checkpoints are signed with an Ed25519 key');
  }
  const name = originLine(checkpoint);
  const text = `${name}\n${checkpoint.size}\n${toBase64(checkpoint.root)}\n`;
  const signature = Buffer.concat([
    keyHash(name, signer.publicKey),
    await signer.sign(Buffer.from(text, 'utf8')),
  ]);
  return `${text}\n\u2014 ${name} ${toBase64(signature)}\n`;
}

/** What a note says, whoever signed it; undefined when it is not a checkpoint. */
export function claimedCheckpoint(note: string): Checkpoint | undefined {
  const verdict = verifyCheckpoint(note, []);
  return verdict.error === undefined ? verdict.value : verdict.claimed?.checkpoint;
}

export function verifyCheckpoint(note: string, keys: readonly Verifier[]): CheckpointVerdict {
  if (note.length > MAX_CHECKPOINT_CHARS) return { error: 'the checkpoint is too long' };
  const split = note.indexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) return { error: 'the checkpoint is not a signed note' };
  const text = note.slice(0, split + 1);
  const checkpoint = parseText(text);
  if (checkpoint === undefined)
    return { error: 'the checkpoint has no origin, ledger id, size and root' };
  const signatures = note.slice(split + 2, -1).split('\n');
  const bytes = Buffer.from(text, 'utf8');
  const isSigned = keys.some((key) =>
    signatures.some((line) => isSignedBy(line, bytes, { key, name: originLine(checkpoint) })),
  );
  if (isSigned) return { value: checkpoint };
  const error = 'no known key signed the checkpoint';
  const keyHashes = signatures.flatMap((line) => keyHashOf(line, originLine(checkpoint)));
  const isKnown = keys.some(({ publicKey }) =>
    keyHashes.includes(Buffer.from(keyHash(originLine(checkpoint), publicKey)).toString('hex')),
  );
  if (isKnown || keyHashes.length === 0) return { error };
  return { error, claimed: { checkpoint, keyHashes } };
}

function keyHashOf(line: string, name: string): string[] {
  const prefix = `\u2014 ${name} `;
  const bytes = line.startsWith(prefix) ? strictBase64(line.slice(prefix.length)) : undefined;
  return bytes === undefined
    ? []
    : [Buffer.from(bytes.subarray(0, KEY_HASH_BYTES)).toString('hex')];
}

/**
 * The form that Go's sumdb/note and other tools read: name+hash+key. The name is the origin line.
 *
 * @internal Holds the checkpoint format to that of other tools.
 */
export function noteVerifierKey(name: string, { publicKey }: Pick<Verifier, 'publicKey'>): string {
  const key = Buffer.concat([ED25519, publicKey]);
  return `${name}+${Buffer.from(keyHash(name, publicKey)).toString('hex')}+${toBase64(key)}`;
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
  const [name = '', sizeText, rootText] = text.split('\n');
  const [, origin, ledgerId] = /^(\S+)\/([0-9a-f]{32})$/u.exec(name) ?? [];
  if (origin === undefined || ledgerId === undefined) return undefined;
  if (sizeText === undefined || rootText === undefined) return undefined;
  const size = Number(sizeText);
  const root = strictBase64(rootText);
  const isSize = Number.isSafeInteger(size) && size >= 0 && String(size) === sizeText;
  return isSize && root?.length === 32 ? { origin, ledgerId, size, root } : undefined;
}

function keyHash(name: string, publicKey: Uint8Array): Uint8Array {
  const input = Buffer.concat([Buffer.from(`${name}\n`, 'utf8'), ED25519, publicKey]);
  return hash('sha256', input, 'buffer').subarray(0, KEY_HASH_BYTES);
}

interface CheckpointerOptions {
  readonly store: Pick<LedgerStore, 'replaceCheckpoint' | 'floor'>;
  readonly signer: Signer;
  readonly everyMs: number;
  readonly lock: Pick<WriterLock, 'isHeld'>;
  /** The size that the stored one already covers. */
  readonly writtenSize: number;
  readonly current: () => Checkpoint;
  readonly onFailure: (reason: unknown) => void;
}

/** Keeps the stored checkpoint, and then the floor, at most one interval behind the ledger. */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #writtenSize: number;
  /** Undefined until this process has written the floor. */
  #floor: { readonly size: number; readonly isClosed: boolean } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#writtenSize = options.writtenSize;
  }

  soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.now().catch(this.#options.onFailure);
    }, this.#options.everyMs).unref();
  }

  /** One at a time. */
  now({ isClosed = false } = {}): Promise<void> {
    this.#last = this.#last
      .catch(() => {})
      .then(async () => {
        const checkpoint = this.#options.current();
        await this.#write(checkpoint);
        await this.#raiseFloor(checkpoint, isClosed);
      });
    return this.#last;
  }

  /** Nothing is written after this resolves. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    // Whoever asked for it has its failure.
    await this.#last.catch(() => {});
  }

  async #write(checkpoint: Checkpoint): Promise<void> {
    const { store, signer, lock } = this.#options;
    if (checkpoint.size === this.#writtenSize) return;
    const note = await signCheckpoint(checkpoint, signer);
    // Checked after signing, which may take a while: two writers would spoil the chain.
    if (!lock.isHeld()) throw lockLost();
    await store.replaceCheckpoint(note);
    this.#writtenSize = checkpoint.size;
  }

  /** After the checkpoint, so that no crash leaves a checkpoint below the floor. */
  async #raiseFloor({ ledgerId, size, root }: Checkpoint, isClosed: boolean): Promise<void> {
    const { store, lock } = this.#options;
    if (store.floor === undefined) return;
    if (this.#floor?.size === size && this.#floor.isClosed === isClosed) return;
    if (!lock.isHeld()) throw lockLost();
    await store.floor.raise({ ledgerId, size, root, isClosed });
    this.#floor = { size, isClosed };
  }
}

export function lockLost(): ZlError {
  return new ZlError('ledger.failed', 'the lock file or its folder was removed or replaced');
}
