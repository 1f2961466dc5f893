import { ZlError } from '@zerolatency/errors';
import type { Lock } from '@zerolatency/service/processes';
import { withoutUnset } from '@zerolatency/signing';
import type { Chain } from './chain.ts';
import { type Checkpoint, signCheckpoint } from './checkpoint.ts';
import { Checkpointer } from './checkpointer.ts';
import { CommitQueue, openSegmentFile } from './commit-queue.ts';
import {
  CHECKPOINT_EVERY_MS,
  type LedgerOptions,
  MAX_INTENT_BYTES,
  MAX_OPEN_INTENTS,
  MAX_QUEUED_BYTES,
  MAX_RECORD_BYTES,
  MAX_SEGMENT_BYTES,
} from './ledger-options.ts';
import type { MerkleFrontier } from './merkle.ts';
import {
  type EncodedRecord,
  encodeRecord,
  type LedgerEntry,
  type LedgerRecord,
  type OpenIntent,
  type SegmentStart,
} from './record.ts';
import type { Recovered } from './recover.ts';
import { segmentAt } from './segments.ts';

export interface Appended {
  readonly index: number;
  /** RFC 6962, hexadecimal. */
  readonly leafHash: string;
}

type NewRecord = LedgerEntry | { readonly kind: 'ledger.segment'; readonly body: SegmentStart };

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #fsync: boolean;
  readonly #lock: Lock;
  readonly #chain: Chain;
  readonly #queue: CommitQueue;
  readonly #checkpointer: Checkpointer;
  readonly #firstNewIndex: number;
  /** Bytes a crash had left of a write that was never acknowledged. */
  readonly cutBytes: number;
  readonly #maxSegmentBytes: number;
  /** Of its records but the first. */
  #segmentBytes: number;
  #durable: MerkleFrontier;
  #failure: ZlError | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: LedgerOptions, lock: Lock, recovered: Recovered) {
    const { fsync = true, openFile = openSegmentFile } = options;
    const onFailure = (reason: unknown) => this.#fail(reason);
    this.#options = options;
    this.#fsync = fsync;
    this.#lock = lock;
    this.#chain = recovered.chain;
    this.#firstNewIndex = recovered.chain.size;
    this.#durable = recovered.chain.frontier.copy();
    this.#segmentBytes = recovered.segmentBytes;
    this.#maxSegmentBytes = options.maxSegmentBytes ?? MAX_SEGMENT_BYTES;
    this.cutBytes = recovered.cutBytes;
    this.#queue = new CommitQueue({
      fsync,
      openFile,
      onBatch: () => this.#closeBatch(),
      onFailure,
      observer: options.observer,
    });
    this.#checkpointer = new Checkpointer({
      ...options,
      fsync,
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

  /** So many records would survive a crash of the machine. */
  get size(): number {
    return this.#durable.size;
  }

  /** Goes on where the last writer stopped; openLedger does this. */
  async start({ segment }: Recovered): Promise<void> {
    try {
      if (segment === undefined) this.#beginSegment();
      else await this.#queue.continue(segment.path);
      await this.#queue.idle();
      if (this.#failure === undefined) await this.#checkpointer.now();
    } catch (reason) {
      this.#fail(reason);
    }
    if (this.#failure === undefined) return;
    await this.#queue.close();
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

  /** In order with all others; returns its index at once. Throws when nothing can be written. */
  appendSoon(entry: LedgerEntry): number {
    return this.#add(entry).index;
  }

  /** Intents that an earlier process left without a receipt and nobody has closed since. */
  openIntents(): OpenIntent[] {
    return this.#chain.intents.list().filter(({ index }) => index < this.#firstNewIndex);
  }

  /** A signed note over what is on disk now. */
  checkpoint(): Promise<string> {
    return signCheckpoint(this.#current(), this.#options.signer);
  }

  /**
   * Writes what is queued and a last checkpoint, and lets another process open
   * the ledger. Rejects when something could not be written.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#queue.close();
      await this.#checkpointer.stop();
      if (this.#failure === undefined) await this.#checkpointer.now();
    } catch (reason) {
      this.#fail(reason);
    } finally {
      await this.#lock.release();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #add(entry: LedgerEntry, settle?: (error?: unknown) => void): Appended {
    this.#refuseUnlessOpen(entry);
    const given = { kind: entry.kind, body: withoutUnset(entry.body) } as LedgerEntry;
    let encoded = this.#encode(given);
    const { byteLength } = encoded.line;
    const most = entry.kind === 'call.intent' ? MAX_INTENT_BYTES : MAX_RECORD_BYTES;
    if (byteLength > most) {
      throw new ZlError('request.too_large', `a ${entry.kind} record has at most ${most} bytes`);
    }
    if (this.#segmentBytes + byteLength > this.#maxSegmentBytes && this.#segmentBytes > 0) {
      this.#beginSegment();
      encoded = this.#encode(given);
    }
    this.#segmentBytes += byteLength;
    this.#accept(encoded);
    this.#queue.push({ kind: entry.kind, line: encoded.line, settle });
    return { index: encoded.record.index, leafHash: this.#chain.prev };
  }

  #beginSegment(): void {
    const frontier = this.#chain.frontier.roots.map((root) => Buffer.from(root).toString('hex'));
    const openIntents = this.#chain.intents.list();
    const encoded = this.#encode({ kind: 'ledger.segment', body: { frontier, openIntents } });
    const segment = segmentAt(this.#options.dir, encoded.record.index);
    this.#segmentBytes = 0;
    this.#accept(encoded);
    this.#queue.push({ kind: 'ledger.segment', line: encoded.line, segment });
  }

  #encode(entry: NewRecord): EncodedRecord & { record: LedgerRecord } {
    const record: LedgerRecord = {
      v: 1,
      ...entry,
      index: this.#chain.size,
      at: new Date(this.#options.nowMs?.() ?? Date.now()).toISOString(),
      prev: this.#chain.prev,
      synced: this.#fsync ? this.#durable.size : 0,
    };
    return { record, ...encodeRecord(record) };
  }

  #accept({ record, leaf }: EncodedRecord & { record: LedgerRecord }): void {
    this.#chain.advance(record, leaf);
  }

  #refuseUnlessOpen({ kind }: LedgerEntry): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new ZlError('ledger.failed', 'the ledger is closed');
    if (this.#queue.queuedBytes > MAX_QUEUED_BYTES) {
      throw new ZlError('limit.exceeded', `${MAX_QUEUED_BYTES} bytes wait for the ledger's disk`);
    }
    if (kind === 'call.intent' && this.#chain.intents.size >= MAX_OPEN_INTENTS) {
      throw new ZlError('limit.exceeded', `${MAX_OPEN_INTENTS} calls have no receipt yet`);
    }
  }

  /** Nothing is added between this and the write, so the frontier is that of the whole batch. */
  #closeBatch(): () => void {
    const frontier = this.#chain.frontier.copy();
    return () => {
      this.#durable = frontier;
      this.#checkpointer.soon();
    };
  }

  #current(): Checkpoint {
    const { size } = this.#durable;
    return { origin: this.#options.origin, size, root: this.#durable.root() };
  }

  #fail(reason: unknown): void {
    if (this.#failure !== undefined) return;
    const what = reason instanceof Error ? reason.message : String(reason);
    this.#failure =
      reason instanceof ZlError
        ? reason
        : new ZlError('ledger.failed', `the ledger cannot be written: ${what}`, { cause: reason });
    this.#options.onFailure?.(this.#failure);
  }
}
