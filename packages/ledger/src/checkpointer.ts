import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import type { Lock } from '@zerolatency/service/processes';
import type { Signer } from '@zerolatency/signing';
import { type Checkpoint, signCheckpoint } from './checkpoint.ts';
import { CHECKPOINT_FILE } from './recover.ts';
import { writeAtomically } from './write-atomically.ts';

interface Options {
  readonly dir: string;
  readonly signer: Signer;
  readonly fsync: boolean;
  readonly everyMs: number;
  readonly lock: Lock;
  /** Size that the file on disk already covers. */
  readonly writtenSize: number;
  readonly current: () => Checkpoint;
  readonly onFailure: (reason: unknown) => void;
}

/** Keeps the checkpoint file behind the ledger by no more than an interval. */
export class Checkpointer {
  readonly #options: Options;
  #writtenSize: number;
  #timer: NodeJS.Timeout | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: Options) {
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
  now(): Promise<void> {
    this.#last = this.#last.catch(() => {}).then(() => this.#write());
    return this.#last;
  }

  /** Nothing is written after this resolves. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    // Its failure has been told where it was asked for.
    await this.#last.catch(() => {});
  }

  async #write(): Promise<void> {
    const { dir, signer, lock, fsync, current } = this.#options;
    const checkpoint = current();
    if (checkpoint.size === this.#writtenSize) return;
    const note = await signCheckpoint(checkpoint, signer);
    // Asked last, because signing may take a while. Two writers would spoil the chain; the one that lost the lock finds out here.
    if (!(await lock.isHeld())) throw new ZlError('ledger.failed', 'another process took the lock');
    await writeAtomically(join(dir, CHECKPOINT_FILE), note, fsync);
    this.#writtenSize = checkpoint.size;
  }
}
