import { ZlError } from '@zerolatency/errors';
import type { Bundle } from '@zerolatency/policy';
import { makeFolder } from '@zerolatency/service/files';
import {
  canonicalJson,
  type Digest,
  type Signer,
  type Verifier,
  withoutUnset,
} from '@zerolatency/signing';
import type { Chain } from './chain.ts';
import {
  assertOrigin,
  type Checkpoint,
  Checkpointer,
  lockLost,
  signCheckpoint,
} from './checkpoint.ts';
import { CommitQueue, type LedgerObserver } from './commit-queue.ts';
import { type FileStoreOptions, fileStore } from './file-store.ts';
import type { Anchor } from './floor.ts';
import {
  type EncodedRecord,
  encodeRecord,
  faultInBody,
  type LedgerEntry,
  type LedgerRecord,
  type OpenIntent,
  RECORD_VERSION,
  type RecordContent,
} from './record.ts';
import { type Recovered, recover } from './recover.ts';
import { segmentFrom } from './segments.ts';
import type { LedgerSource, LedgerStore, WriterLock } from './store.ts';
import type { MerkleFrontier } from './tree.ts';

export interface WriterOptions {
  /** Signs the checkpoints. */
  readonly signer: Signer;
  /** Names the ledger's operator in checkpoints, such as zerolatency/host-1. No spaces, no +. */
  readonly origin: string;
  /** Further keys that may have signed earlier checkpoints. */
  readonly keys?: readonly Verifier[];
  /** Without the segment's first record. */
  readonly maxSegmentBytes?: number;
  readonly checkpointEveryMs?: number;
  readonly nowMs?: () => number;
  /** Called once, with the error that made the ledger unusable. */
  readonly onFailure?: (error: ZlError) => void;
  readonly observer?: LedgerObserver;
}

export interface LedgerOptions extends WriterOptions, FileStoreOptions {}

/** A host reads this much back in a fraction of a second when it starts. */
const MAX_SEGMENT_BYTES = 16 * 1024 * 1024;

/** A record holds digests and envelopes, never content. */
const MAX_RECORD_BYTES = 1024 * 1024;

/** Bounds what waits for a disk that has stopped. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** Every segment repeats the open intents in its first record, which must stay within MAX_LINE_BYTES. */
const MAX_OPEN_INTENTS = 4_096;
const MAX_INTENT_BYTES = 4_096;

/** Bounds what a crash leaves unsigned; each checkpoint costs one small write and fsync. */
const CHECKPOINT_EVERY_MS = 1_000;

export interface Appended {
  readonly index: number;
  /** RFC 6962, hexadecimal. */
  readonly leafHash: string;
}

export class Ledger {
  readonly #options: WriterOptions;
  readonly #store: LedgerStore;
  readonly #lock: WriterLock;
  readonly #chain: Chain;
  readonly #queue: CommitQueue;
  readonly #checkpointer: Checkpointer;
  readonly #firstNewIndex: number;
  /** Bytes that a crash left of a write it cut short. */
  readonly cutBytes: number;
  /** Records that a crash had left unsigned, and that this process goes on with. */
  readonly adopted: number;
  /** Ids of calls and turns that were stored although their writer was told that they were not. */
  readonly late: ReadonlySet<string>;
  readonly #maxSegmentBytes: number;
  /** Without the segment's first record. */
  #segmentBytes: number;
  #durable: MerkleFrontier;
  #failure: ZlError | undefined;
  #closing: Promise<void> | undefined;
  #note: { readonly size: number; readonly text: Promise<string> } | undefined;

  constructor(
    options: WriterOptions,
    { store, lock, recovered }: { store: LedgerStore; lock: WriterLock; recovered: Recovered },
  ) {
    const onFailure = (reason: unknown) => this.#fail(reason);
    this.#options = options;
    this.#store = store;
    this.#lock = lock;
    this.#chain = recovered.chain;
    this.#firstNewIndex = recovered.chain.size;
    this.#durable = recovered.chain.frontier.copy();
    this.#segmentBytes = recovered.segmentBytes;
    this.#maxSegmentBytes = options.maxSegmentBytes ?? MAX_SEGMENT_BYTES;
    this.cutBytes = recovered.cutBytes;
    this.adopted = recovered.adopted;
    this.late = recovered.late;
    this.#queue = new CommitQueue({
      store,
      onBatch: () => this.#closeBatch(),
      onFailure,
      observer: options.observer,
    });
    this.#checkpointer = new Checkpointer({
      ...options,
      store,
      lock,
      everyMs: options.checkpointEveryMs ?? CHECKPOINT_EVERY_MS,
      writtenSize: recovered.checkpoint?.size ?? 0,
      current: () => this.#current(),
      onFailure,
    });
  }

  get state(): 'open' | 'failed' | 'closed' {
    if (this.#failure !== undefined) return 'failed';
    return this.#closing === undefined ? 'open' : 'closed';
  }

  get ledgerId(): string {
    return this.#chain.ledgerId;
  }

  /** For readers beside the writer. */
  get source(): LedgerSource & Pick<LedgerStore, 'assertRoom'> {
    return this.#store;
  }

  /** How many records would survive a crash of the machine. */
  get size(): number {
    return this.#durable.size;
  }

  /**
   * For a ledger that has failed: the same one with every record that was acknowledged, or a new one
   * where another process has ended it. Rejects while it cannot be written; may be tried again.
   */
  async reopen(): Promise<Ledger> {
    // It rejects with the failure, which its owner has.
    await this.close().catch(() => {});
    const successor = await this.#store.successor?.();
    if (successor !== undefined) return openLedgerIn(successor, this.#options);
    return open(this.#store, this.#options, this.#current());
  }

  /** Continues where the last writer stopped; openLedger calls it. */
  async start({ segment }: Recovered): Promise<void> {
    try {
      if (segment === undefined) this.#beginSegment();
      else await this.#store.resume(segment);
      // Before the checkpoint that covers them.
      if (this.adopted > 0 && !this.#chain.isEnded)
        this.#add({ kind: 'ledger.adopted', body: { records: this.adopted } });
      await this.#queue.idle();
      if (this.#failure === undefined) await this.#checkpointer.now();
    } catch (reason) {
      this.#fail(reason);
    }
    if (this.#failure === undefined) return;
    await this.#store.close();
    throw this.#failure;
  }

  /** Resolves once the record would survive a crash of the machine. */
  append(entry: LedgerEntry): Promise<Appended> {
    const { promise, resolve, reject } = Promise.withResolvers<Appended>();
    const startedMs = performance.now();
    try {
      const appended = this.#add(entry, (error) => {
        if (error !== undefined) return reject(this.#failure ?? error);
        this.#options.observer?.acknowledged((performance.now() - startedMs) / 1000);
        resolve(appended);
      });
    } catch (reason) {
      reject(reason);
    }
    return promise;
  }

  /** Keeps the order of all appends and returns the index at once. Throws when nothing can be written. */
  appendSoon(entry: LedgerEntry): number {
    return this.#add(entry).index;
  }

  /** For whoever verifies a decision later: before the record that says the bundle is in force. */
  keepBundle(digest: Digest, content: Bundle): void {
    if (this.state !== 'open') throw this.#failure ?? new ZlError('ledger.failed', 'it is closed');
    this.#store.keepBundle(digest, canonicalJson(content));
  }

  /** Intents that an earlier process left open and that are still open. */
  openIntents(): OpenIntent[] {
    return this.#chain.openIntents().filter(({ index }) => index < this.#firstNewIndex);
  }

  /** A signed note of what is on disk now. */
  checkpoint(): Promise<string> {
    const { size } = this.#durable;
    if (this.#note?.size !== size) {
      const text = signCheckpoint(this.#current(), this.#options.signer);
      this.#note = { size, text };
      // A signer that failed once is asked again.
      text.catch(() => {
        this.#note = undefined;
      });
    }
    return this.#note.text;
  }

  /** Closes it for ever; `by` is the ledger of the host that does so for one that cannot. */
  async end(by?: string): Promise<void> {
    try {
      if (!this.#chain.isEnded) this.#add({ kind: 'ledger.ended', body: { by } });
    } finally {
      await this.close();
    }
    await this.#store.end?.();
  }

  /**
   * Writes everything queued and a last checkpoint, and releases the ledger for
   * other processes. Rejects when something could not be written.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#queue.idle();
      await this.#checkpointer.stop();
      if (this.#failure === undefined) await this.#checkpointer.now({ isClosed: true });
    } catch (reason) {
      this.#fail(reason);
    } finally {
      await this.#store.close().catch((reason) => this.#fail(reason));
      this.#lock.release();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #add(entry: RecordContent, settle?: (error?: unknown) => void): Appended {
    this.#refuseUnlessOpen(entry);
    const given = { kind: entry.kind, body: withoutUnset(entry.body) } as RecordContent;
    let encoded = this.#encode(given);
    const { byteLength } = encoded.line;
    const maxBytes = entry.kind === 'call.intent' ? MAX_INTENT_BYTES : MAX_RECORD_BYTES;
    if (byteLength > maxBytes) {
      throw new ZlError(
        'request.too_large',
        `a ${entry.kind} record has at most ${maxBytes} bytes`,
      );
    }
    const fault = faultInBody(given);
    if (fault !== undefined) {
      throw new ZlError('request.invalid', `a ${entry.kind} record breaks its contract: ${fault}`);
    }
    if (this.#segmentBytes + byteLength > this.#maxSegmentBytes && this.#segmentBytes > 0) {
      this.#beginSegment();
      encoded = this.#encode(given);
    }
    this.#segmentBytes += byteLength;
    this.#chain.advance(encoded.record, encoded.leaf);
    const { index } = encoded.record;
    this.#queue.push({ kind: entry.kind, index, line: encoded.line, settle });
    return { index, leafHash: this.#chain.prev };
  }

  #beginSegment(): void {
    const encoded = this.#encode(this.#segmentStart());
    const { kind, index } = encoded.record;
    this.#segmentBytes = 0;
    this.#chain.advance(encoded.record, encoded.leaf);
    this.#queue.push({ kind, index, line: encoded.line, segment: segmentFrom(index) });
  }

  #segmentStart(): RecordContent {
    const { size, ledgerId, frontier } = this.#chain;
    if (size === 0) {
      return { kind: 'ledger.opened', body: { ledgerId: this.#store.newLedgerId() } };
    }
    const roots = frontier.roots.map((root) => Buffer.from(root).toString('hex'));
    const openIntents = this.#chain.openIntents();
    return { kind: 'ledger.segment', body: { ledgerId, frontier: roots, openIntents } };
  }

  #encode(content: RecordContent): EncodedRecord & { record: LedgerRecord } {
    const record: LedgerRecord = {
      v: RECORD_VERSION,
      ...content,
      index: this.#chain.size,
      at: new Date(this.#options.nowMs?.() ?? Date.now()).toISOString(),
      prev: this.#chain.prev,
      synced: this.#store.isDurable ? this.#durable.size : 0,
    };
    return { record, ...encodeRecord(record) };
  }

  #refuseUnlessOpen({ kind }: RecordContent): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new ZlError('ledger.failed', 'the ledger is closed');
    if (this.#chain.isEnded) throw new ZlError('ledger.failed', 'the ledger has ended');
    if (this.#queue.queuedBytes > MAX_QUEUED_BYTES) {
      throw new ZlError('limit.exceeded', `${MAX_QUEUED_BYTES} bytes wait for the ledger's disk`);
    }
    if (kind === 'call.intent' && this.#chain.openIntentCount >= MAX_OPEN_INTENTS) {
      throw new ZlError('limit.exceeded', `${MAX_OPEN_INTENTS} calls have no receipt yet`);
    }
  }

  /** Nothing is added between this and the write, so the frontier covers exactly the batch. */
  #closeBatch(): () => void {
    const frontier = this.#chain.frontier.copy();
    return () => {
      // A removed folder takes writes until its files are closed.
      if (!this.#lock.isHeld()) throw lockLost();
      this.#durable = frontier;
      this.#checkpointer.soon();
    };
  }

  #current(): Checkpoint {
    const { size } = this.#durable;
    const { ledgerId } = this.#chain;
    return { origin: this.#options.origin, ledgerId, size, root: this.#durable.root() };
  }

  #fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = failureOf(reason, 'written');
    this.#options.onFailure?.(this.#failure);
  }
}

/**
 * Cuts off what a crash left of an unacknowledged write; any other damage is
 * ledger.corrupt. Rejects with ledger.failed while another process holds the ledger.
 */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  assertOrigin(options.origin);
  await makeFolder(options.dir).catch(refuse);
  const onSynced = options.observer?.synced.bind(options.observer);
  return open(fileStore(options, { onSynced }), options);
}

/** The same for a ledger that lies elsewhere than in a folder. */
export async function openLedgerIn(store: LedgerStore, options: WriterOptions): Promise<Ledger> {
  assertOrigin(options.origin);
  return open(store, options);
}

async function open(
  store: LedgerStore,
  options: WriterOptions,
  acknowledged?: Anchor,
): Promise<Ledger> {
  const { origin, signer, keys = [] } = options;
  let lock: WriterLock | undefined;
  try {
    lock = await store.lock();
    const known = [signer.verifier(), ...keys];
    const recovered = await recover({ store, origin, keys: known, acknowledged });
    const ledger = new Ledger(options, { store, lock, recovered });
    await ledger.start(recovered);
    return ledger;
  } catch (reason) {
    lock?.abandon();
    return refuse(reason);
  }
}

/** Callers see one error for files and for PostgreSQL. */
function failureOf(reason: unknown, what: 'opened' | 'written'): ZlError {
  if (reason instanceof ZlError && reason.id !== 'postgres.failed') return reason;
  const why = reason instanceof Error ? reason.message : String(reason);
  return new ZlError('ledger.failed', `the ledger cannot be ${what}: ${why}`, { cause: reason });
}

function refuse(reason: unknown): never {
  throw failureOf(reason, 'opened');
}
