import { statfs } from 'node:fs/promises';
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { type Ledger, type LedgerEntry, type LedgerOptions, openLedger } from '@zerolatency/ledger';

export interface HostLedgerOptions extends Omit<LedgerOptions, 'onFailure'> {
  /** Once for each failure, however often it is found again. */
  readonly onFailed: (error: ZlError) => void;
  readonly onReopened: () => void;
}

/** A small part of what a person needs to notice that a disk has space again. */
const REOPEN_EVERY_MS = 500;

/** On a disk with less the first record would fit, and that of the first call not. */
const MIN_FREE_BYTES = 256 * 1024;

/** The ledger of a host that runs on: when it fails, it is opened again until that succeeds. */
export class HostLedger {
  readonly #options: HostLedgerOptions;
  #ledger: Ledger;
  #failure: ZlError | undefined;
  #first: (() => LedgerEntry) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reopening: Promise<void> | undefined;
  #isClosed = false;

  private constructor(ledger: Ledger, options: HostLedgerOptions) {
    this.#ledger = ledger;
    this.#options = options;
  }

  static async open(options: HostLedgerOptions): Promise<HostLedger> {
    let fail = (_: ZlError) => {};
    const ledger = await openLedger({ ...options, onFailure: (error) => fail(error) });
    const opened = new HostLedger(ledger, options);
    fail = (error) => opened.#fail(error);
    return opened;
  }

  /** Why nothing can be written now. */
  get failure(): ZlError | undefined {
    return this.#failure;
  }

  get size(): number {
    return this.#ledger.size;
  }

  /** Throws while nothing can be written, so that nothing begins that could not be recorded. */
  assertWritable(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  append(...[entry]: Parameters<Ledger['append']>): ReturnType<Ledger['append']> {
    return this.#ledger.append(entry);
  }

  appendSoon(...[entry]: Parameters<Ledger['appendSoon']>): number {
    return this.#ledger.appendSoon(entry);
  }

  openIntents(): ReturnType<Ledger['openIntents']> {
    return this.#ledger.openIntents();
  }

  /** The record that comes first after a failure, and must be on disk before the ledger counts as open. */
  resumeWith(first: () => LedgerEntry): void {
    this.#first = first;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#reopening;
    await this.#ledger.close();
  }

  #fail(error: ZlError): void {
    const isNews = this.#failure === undefined;
    this.#failure = error;
    if (this.#isClosed) return;
    if (isNews) this.#options.onFailed(error);
    // The trace is that of the turn that found the failure first.
    this.#timer ??= context.with(ROOT_CONTEXT, () => setTimeout(this.#retry, REOPEN_EVERY_MS));
  }

  readonly #retry = () => {
    this.#timer = undefined;
    this.#reopening = this.#reopen();
  };

  /** Never rejects. */
  async #reopen(): Promise<void> {
    try {
      await this.#assertRoom();
      this.#ledger = await this.#ledger.reopen();
      if (this.#first === undefined) throw new ZlError('ledger.failed', 'the host has not started');
      await this.#ledger.append(this.#first());
    } catch (reason) {
      this.#fail(fromUnknown(reason));
      return;
    }
    // It may have failed again in the same moment.
    if (this.#ledger.state !== 'open') return;
    this.#failure = undefined;
    this.#options.onReopened();
  }

  async #assertRoom(): Promise<void> {
    const { dir } = this.#options;
    const { bavail, bsize } = await statfs(dir).catch((cause: Error) => {
      throw new ZlError('ledger.failed', `its folder cannot be read: ${cause.message}`, { cause });
    });
    if (bavail * bsize >= MIN_FREE_BYTES) return;
    throw new ZlError(
      'ledger.failed',
      `the disk of ${dir} has ${bavail * bsize} bytes left, and ${MIN_FREE_BYTES} are needed to go on`,
    );
  }
}
