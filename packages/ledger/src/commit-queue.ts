import type { RecordKind } from './record.ts';
import type { LedgerStore, StoredRecord } from './store.ts';

/** What operators watch. */
export interface LedgerObserver {
  /** A record is durable, as far as the ledger syncs. */
  recorded(kind: RecordKind): void;
  /** From append to its acknowledgement, for records that somebody waits for. */
  acknowledged(seconds: number): void;
  /** One fsync, or one transaction, of records. */
  synced(seconds: number): void;
}

export interface Commit extends StoredRecord {
  readonly kind: RecordKind;
  settle?(error?: unknown): void;
}

interface Options {
  readonly store: Pick<LedgerStore, 'append'>;
  /** Runs when a batch is closed; the function it returns runs once the batch is durable. */
  readonly onBatch: () => () => void;
  readonly onFailure: (reason: unknown) => void;
  readonly observer: LedgerObserver | undefined;
}

/**
 * Group commit: records queued during a write share the next one. Nothing is
 * written after a failure, because what is stored is then unknown until it is
 * read again.
 */
export class CommitQueue {
  readonly #options: Options;
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

  push(commit: Commit): void {
    this.#queue.push(commit);
    this.#queuedBytes += commit.line.byteLength;
    this.#running ??= this.#run();
  }

  /** Resolves once everything queued is durable or has failed. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Appends of the same tick share the first write.
    await null;
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      this.#queuedBytes = 0;
      const onDurable = this.#options.onBatch();
      try {
        if (this.#hasFailed) throw new Error('an earlier write failed');
        await this.#options.store.append(batch);
        onDurable();
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
}
