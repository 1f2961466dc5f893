import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import type { Bundle } from '@zerolatency/policy';
import { makeFolder } from '@zerolatency/service/files';
import { acquireLock, type Lock } from '@zerolatency/service/processes';
import { type Digest, type Signer, type Verifier, withoutUnset } from '@zerolatency/signing';
import { keepBundle } from './bundles.ts';
import type { Chain } from './chain.ts';
import {
  assertOrigin,
  type Checkpoint,
  Checkpointer,
  lockLost,
  signCheckpoint,
} from './checkpoint.ts';
import { CommitQueue, type LedgerObserver } from './commit-queue.ts';
import { type LedgerDisk, realDisk } from './disk.ts';
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
import { segmentAt } from './segments.ts';
import type { MerkleFrontier } from './tree.ts';

export interface LedgerOptions {
  readonly dir: string;
  /** Signs the checkpoints. */
  readonly signer: Signer;
  /** Names the ledger's operator in checkpoints, such as zerolatency/host-1. No spaces, no +. */
  readonly origin: string;
  /** False is for tests that crash nothing; acknowledged means on disk otherwise. */
  readonly fsync?: boolean;
  /** Further keys that may have signed earlier checkpoints. */
  readonly keys?: readonly Verifier[];
  /**
   * Remembers the newest checkpoint, so that a ledger that was cut, replaced or removed is not
   * continued. Outside `dir`; without it nothing is remembered.
   */
  readonly floorFile?: string | undefined;
  /** Without the segment's first record. */
  readonly maxSegmentBytes?: number;
  readonly checkpointEveryMs?: number;
  readonly nowMs?: () => number;
  /** Called once, with the error that made the ledger unusable. */
  readonly onFailure?: (error: ZlError) => void;
  readonly disk?: LedgerDisk;
  readonly observer?: LedgerObserver;
}

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
  readonly #options: LedgerOptions;
  readonly #fsync: boolean;
  readonly #lock: Lock;
  readonly #chain: Chain;
  readonly #queue: CommitQueue;
  readonly #checkpointer: Checkpointer;
  readonly #firstNewIndex: number;
  /** Bytes that a crash left of a write it cut short. */
  readonly cutBytes: number;
  /** Records that a crash had left unsigned, and that this process goes on with. */
  readonly adopted: number;
  readonly #maxSegmentBytes: number;
  /** Without the segment's first record. */
  #segmentBytes: number;
  #durable: MerkleFrontier;
  #failure: ZlError | undefined;
  #closing: Promise<void> | undefined;
  #note: { readonly size: number; readonly text: Promise<string> } | undefined;

  constructor(options: LedgerOptions, lock: Lock, recovered: Recovered) {
    const { fsync = true, disk = realDisk } = options;
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
    this.adopted = recovered.adopted;
    this.#queue = new CommitQueue({
      fsync,
      disk,
      onBatch: () => this.#closeBatch(),
      onFailure,
      observer: options.observer,
    });
    this.#checkpointer = new Checkpointer({
      ...options,
      fsync,
      lock,
      disk,
      floorFile: options.floorFile,
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

  /** How many records would survive a crash of the machine. */
  get size(): number {
    return this.#durable.size;
  }

  /**
   * For a ledger that has failed: the same folder with the records that were acknowledged, and
   * no others. Rejects while that cannot be written or is not there; may be tried again.
   */
  async reopen(): Promise<Ledger> {
    // It rejects with the failure, which its owner has.
    await this.close().catch(() => {});
    return open(this.#options, this.#current());
  }

  /** Continues where the last writer stopped; openLedger calls it. */
  async start({ segment }: Recovered): Promise<void> {
    try {
      if (segment === undefined) this.#beginSegment();
      else await this.#queue.continue(segment.path);
      // Before the checkpoint that covers them.
      if (this.adopted > 0) this.#add({ kind: 'ledger.adopted', body: { records: this.adopted } });
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

  /** Keeps the order of all appends and returns the index at once. Throws when nothing can be written. */
  appendSoon(entry: LedgerEntry): number {
    return this.#add(entry).index;
  }

  /** For whoever verifies a decision later: before the record that says the bundle is in force. */
  keepBundle(digest: Digest, content: Bundle): void {
    if (this.state !== 'open') throw this.#failure ?? new ZlError('ledger.failed', 'it is closed');
    keepBundle(this.#options.dir, digest, content);
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
      await this.#queue.close();
      await this.#checkpointer.stop();
      if (this.#failure === undefined) await this.#checkpointer.now({ isClosed: true });
    } catch (reason) {
      this.#fail(reason);
    } finally {
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
    this.#queue.push({ kind: entry.kind, line: encoded.line, settle });
    return { index: encoded.record.index, leafHash: this.#chain.prev };
  }

  #beginSegment(): void {
    const encoded = this.#encode(this.#segmentStart());
    const { kind, index } = encoded.record;
    this.#segmentBytes = 0;
    this.#chain.advance(encoded.record, encoded.leaf);
    this.#queue.push({ kind, line: encoded.line, segment: segmentAt(this.#options.dir, index) });
  }

  #segmentStart(): RecordContent {
    const { size, ledgerId, frontier } = this.#chain;
    if (size === 0) {
      return { kind: 'ledger.opened', body: { ledgerId: randomBytes(16).toString('hex') } };
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
      synced: this.#fsync ? this.#durable.size : 0,
    };
    return { record, ...encodeRecord(record) };
  }

  #refuseUnlessOpen({ kind }: RecordContent): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new ZlError('ledger.failed', 'the ledger is closed');
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
    const what = reason instanceof Error ? reason.message : String(reason);
    this.#failure =
      reason instanceof ZlError
        ? reason
        : new ZlError('ledger.failed', `the ledger cannot be written: ${what}`, { cause: reason });
    this.#options.onFailure?.(this.#failure);
  }
}

/**
 * Cuts off what a crash left of an unacknowledged write; any other damage is
 * ledger.corrupt. Rejects with ledger.failed while another process holds the ledger.
 */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const { dir, origin } = options;
  assertOrigin(origin);
  await makeFolder(dir).catch(refuse);
  return open(options);
}

async function open(options: LedgerOptions, acknowledged?: Anchor): Promise<Ledger> {
  const { dir, origin, signer, keys = [], disk = realDisk, floorFile } = options;
  let lock: Lock | undefined;
  try {
    lock = acquireLock(join(dir, 'lock'), heldBy);
    const known = [signer.verifier(), ...keys];
    const recovered = await recover({ dir, origin, disk, keys: known, floorFile, acknowledged });
    const ledger = new Ledger(options, lock, recovered);
    await ledger.start(recovered);
    return ledger;
  } catch (reason) {
    lock?.abandon();
    return refuse(reason);
  }
}

function refuse(reason: unknown): never {
  if (reason instanceof ZlError) throw reason;
  const what = reason instanceof Error ? reason.message : String(reason);
  throw new ZlError('ledger.failed', `the ledger cannot be opened: ${what}`, { cause: reason });
}

function heldBy(pid: number | undefined): ZlError {
  const who = pid === undefined ? 'another process' : `process ${pid}`;
  return new ZlError('ledger.failed', `${who} holds the ledger`);
}
