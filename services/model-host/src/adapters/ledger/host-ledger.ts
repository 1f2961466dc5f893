import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { Ledger, LedgerEntry, LedgerSource, WriterOptions } from '@zerolatency/ledger';

export interface HostLedgerOptions {
  /** Opens it wherever it lies. */
  readonly open: (options: Pick<WriterOptions, 'onFailure'>) => Promise<Ledger>;
  /** Once for each failure, however often it is found again. */
  readonly onFailed: (error: ZlError) => void;
  readonly onReopened: () => void;
}

/** A small part of what a person needs to notice that a disk has space again. */
const REOPEN_EVERY_MS = 500;

/**
 * The ledger of a host that runs on: when it fails, it is opened again until that succeeds.
 * One that was corrupt at the start stays closed, because a person restores it meanwhile.
 */
export class HostLedger {
  readonly #options: HostLedgerOptions;
  #ledger: Ledger | undefined;
  #failure: ZlError | undefined;
  #first: (() => LedgerEntry) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reopening: Promise<void> | undefined;
  #isClosed = false;

  private constructor(ledger: Ledger | undefined, options: HostLedgerOptions) {
    this.#ledger = ledger;
    this.#options = options;
  }

  static async open(options: HostLedgerOptions): Promise<HostLedger> {
    let fail = (_: ZlError) => {};
    let opened: HostLedger;
    try {
      const ledger = await options.open({ onFailure: (error) => fail(error) });
      opened = new HostLedger(ledger, options);
    } catch (reason) {
      if (!(reason instanceof ZlError) || reason.id !== 'ledger.corrupt') throw reason;
      opened = new HostLedger(undefined, options);
      opened.#fail(reason);
    }
    fail = (error) => opened.#fail(error);
    return opened;
  }

  /** Why nothing can be written now. */
  get failure(): ZlError | undefined {
    return this.#failure;
  }

  /** What is there is not what this host wrote. Nothing is recorded until somebody has restored it. */
  get isCorrupt(): boolean {
    return this.#failure?.id === 'ledger.corrupt';
  }

  /** Empty while it is corrupt from the start. */
  get ledgerId(): string {
    return this.#ledger?.ledgerId ?? '';
  }

  /** For readers beside the writer. */
  get source(): LedgerSource {
    return this.#open().source;
  }

  /** Ids of calls and turns that were stored although their writer was told that they were not. */
  get late(): ReadonlySet<string> {
    return this.#ledger?.late ?? new Set();
  }

  get size(): number {
    return this.#ledger?.size ?? 0;
  }

  /** Records that a crash had left unsigned. */
  get adopted(): number {
    return this.#ledger?.adopted ?? 0;
  }

  /** Throws while nothing can be written, so that nothing begins that could not be recorded. */
  assertWritable(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async append(...[entry]: Parameters<Ledger['append']>): ReturnType<Ledger['append']> {
    return this.#open().append(entry);
  }

  appendSoon(...[entry]: Parameters<Ledger['appendSoon']>): number {
    return this.#open().appendSoon(entry);
  }

  keepBundle(...bundle: Parameters<Ledger['keepBundle']>): void {
    this.#open().keepBundle(...bundle);
  }

  openIntents(): ReturnType<Ledger['openIntents']> {
    return this.#ledger?.openIntents() ?? [];
  }

  checkpoint(): ReturnType<Ledger['checkpoint']> {
    return this.#open().checkpoint();
  }

  /** The record that comes first after a failure, and must be on disk before the ledger counts as open. */
  resumeWith(first: () => LedgerEntry): void {
    this.#first = first;
  }

  /** Closes it for ever. */
  end(): Promise<void> {
    return this.#close((ledger) => ledger.end());
  }

  close(): Promise<void> {
    return this.#close((ledger) => ledger.close());
  }

  async #close(how: (ledger: Ledger) => Promise<void>): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#reopening;
    if (this.#ledger !== undefined) await how(this.#ledger);
  }

  #open(): Ledger {
    if (this.isCorrupt) this.assertWritable();
    if (this.#ledger === undefined) throw new ZlError('ledger.failed', 'the ledger is not open');
    return this.#ledger;
  }

  #fail(error: ZlError): void {
    const isWorse = error.id === 'ledger.corrupt' && !this.isCorrupt;
    const isNews = this.#failure === undefined || isWorse;
    this.#failure = error;
    if (this.#isClosed) return;
    if (isNews) this.#options.onFailed(error);
    if (this.#ledger === undefined) return;
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
      await this.#ledger?.source.assertRoom?.();
      this.#ledger = await this.#ledger?.reopen();
      if (this.#first === undefined) throw new ZlError('ledger.failed', 'the host has not started');
      await this.#ledger?.append(this.#first());
    } catch (reason) {
      this.#fail(fromUnknown(reason));
      return;
    }
    // It may have failed again in the same moment.
    if (this.#ledger?.state !== 'open') return;
    this.#failure = undefined;
    this.#options.onReopened();
  }
}
