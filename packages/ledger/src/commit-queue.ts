import { dirname } from 'node:path';
import type { LedgerDisk, SegmentFile } from './disk.ts';
import type { RecordKind } from './record.ts';
import type { Segment } from './segments.ts';

/** What operators watch. */
export interface LedgerObserver {
  /** A record is on disk, as far as the ledger syncs. */
  recorded(kind: RecordKind): void;
  /** From append to its acknowledgement, for records that somebody waits for. */
  acknowledged(seconds: number): void;
  /** One fsync of records. */
  synced(seconds: number): void;
}

export interface Commit {
  readonly kind: RecordKind;
  readonly line: Uint8Array;
  /** The file that begins with this line. */
  readonly segment?: Segment;
  settle?(error?: unknown): void;
}

interface Options {
  readonly fsync: boolean;
  readonly disk: LedgerDisk;
  /** Runs when a batch is closed; the function it returns runs once the batch is on disk. */
  readonly onBatch: () => () => void;
  readonly onFailure: (reason: unknown) => void;
  readonly observer: LedgerObserver | undefined;
}

/**
 * Group commit: records queued during a write and its fsync share the next
 * ones. Nothing is written after a failure, because the content of the disk is
 * then unknown until it is read again.
 */
export class CommitQueue {
  readonly #options: Options;
  #file: SegmentFile | undefined;
  #queue: Commit[] = [];
  #queuedBytes = 0;
  #running: Promise<void> | undefined;
  #hasFailed = false;

  constructor(options: Options) {
    this.#options = options;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Appends to a file that exists. */
  async continue(path: string): Promise<void> {
    this.#file = await this.#options.disk.open(path);
    if (!this.#options.fsync) return;
    // The next checkpoint must not cover records that are only in the page cache, and neither what
    // recovery cut off nor a segment that an earlier process removed may come back.
    await this.#file.datasync();
    await this.#options.disk.syncFolder(dirname(path));
  }

  push(commit: Commit): void {
    this.#queue.push(commit);
    this.#queuedBytes += commit.line.byteLength;
    this.#running ??= this.#run();
  }

  /** Resolves once everything queued is on disk or has failed. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async close(): Promise<void> {
    await this.idle();
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #run(): Promise<void> {
    // Appends of the same tick share the first write.
    await null;
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      this.#queuedBytes = 0;
      const onDisk = this.#options.onBatch();
      try {
        if (this.#hasFailed) throw new Error('an earlier write failed');
        await this.#write(batch);
        onDisk();
        this.#acknowledge(batch);
      } catch (reason) {
        this.#fail(batch, reason);
      }
    }
    this.#running = undefined;
  }

  #acknowledge(batch: readonly Commit[]): void {
    const { observer } = this.#options;
    for (const commit of batch) {
      observer?.recorded(commit.kind);
      commit.settle?.();
    }
  }

  #fail(batch: readonly Commit[], reason: unknown): void {
    if (!this.#hasFailed) this.#options.onFailure(reason);
    this.#hasFailed = true;
    for (const commit of batch) commit.settle?.(reason);
  }

  async #write(batch: readonly Commit[]): Promise<void> {
    let from = 0;
    for (const [i, { segment }] of batch.entries()) {
      if (segment === undefined) continue;
      await this.#append(batch.slice(from, i));
      await this.#begin(segment);
      from = i;
    }
    await this.#append(batch.slice(from));
  }

  async #append(commits: readonly Commit[]): Promise<void> {
    if (commits.length === 0) return;
    const [first] = commits;
    const lines = commits.map((commit) => commit.line);
    const bytes = commits.length === 1 && first ? first.line : Buffer.concat(lines);
    await this.#file?.appendFile(bytes);
    if (this.#options.fsync) await this.#sync();
  }

  async #sync(): Promise<void> {
    const startedMs = performance.now();
    await this.#file?.datasync();
    this.#options.observer?.synced((performance.now() - startedMs) / 1000);
  }

  async #begin(segment: Segment): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    this.#file = await this.#options.disk.open(segment.path);
    if (this.#options.fsync) await this.#options.disk.syncFolder(dirname(segment.path));
  }
}
