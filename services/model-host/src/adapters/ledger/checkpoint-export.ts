import { request } from 'node:https';
import { join } from 'node:path';
import { claimedCheckpoint } from '@zerolatency/ledger';
import { Backoff } from '@zerolatency/service/backoff';
import { counted } from '@zerolatency/service/counted';
import { readIfThere, writeAtomically } from '@zerolatency/service/files';
import type { ComponentStatus } from '@zerolatency/service/lifecycle';

export interface CheckpointExportOptions {
  /** A folder, or an HTTPS URL that takes a note as the body of a POST. */
  readonly to: string;
  readonly everyMs: number;
  /** PEM of the authority that issued the URL's certificate; those of the system when absent. */
  readonly ca?: string | undefined;
  /** The newest note; empty while there is none. */
  readonly newest: () => Promise<string>;
  readonly onAttempt: (result: 'done' | 'failed') => void;
  readonly log: ExportLog;
}

interface ExportLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** A receiver that has not answered by then is away. */
const SEND_TIMEOUT_MS = 10_000;
const FIRST_RETRY_MS = 1_000;

/** Keeps the newest checkpoint where whoever can rewrite the ledger's folder does not reach it. */
export class CheckpointExport {
  readonly #options: CheckpointExportOptions;
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  #exported: { readonly note: string; readonly at: Date } | undefined;
  #failure: { readonly why: string; readonly since: Date; readonly attempts: number } | undefined;
  #currentAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: CheckpointExportOptions) {
    this.#options = options;
    this.#backoff = new Backoff({
      minMs: Math.min(FIRST_RETRY_MS, options.everyMs),
      maxMs: options.everyMs,
    });
    this.#running = this.#run();
  }

  /** When the target last held the newest checkpoint; 0 before it did. */
  get currentAtMs(): number {
    return this.#currentAtMs;
  }

  /** Exports what the ledger was closed with, as far as the deadline allows. */
  async close(deadline: AbortSignal): Promise<void> {
    clearTimeout(this.#timer);
    this.#closing.abort();
    await this.#running;
    clearTimeout(this.#timer);
    // A target that is away must not hold up the shutdown.
    if (this.#failure === undefined) await this.#export(deadline);
  }

  status(): ComponentStatus {
    const { to } = this.#options;
    const size = claimedCheckpoint(this.#exported?.note ?? '')?.size;
    const last =
      size === undefined
        ? 'nothing exported yet'
        : `${counted(size, 'record')} at ${this.#exported?.at.toISOString()}`;
    if (this.#failure === undefined) return { status: 'ok', detail: `${last}, to ${to}` };
    const { why, since, attempts } = this.#failure;
    const failed = `${counted(attempts, 'attempt')} failed since ${since.toISOString()}`;
    return { status: 'degraded', detail: `${failed}: ${why}; ${last}` };
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    await this.#export(this.#closing.signal);
    if (this.#closing.signal.aborted) return;
    const waitMs = this.#failure === undefined ? this.#options.everyMs : this.#backoff.nextMs();
    this.#timer = setTimeout(() => {
      this.#running = this.#run();
    }, waitMs).unref();
  }

  async #export(signal: AbortSignal): Promise<void> {
    const { newest, to, ca, onAttempt, log } = this.#options;
    try {
      const note = await newest();
      if (note === '') return;
      if (note === this.#exported?.note) {
        this.#currentAtMs = Date.now();
        return;
      }
      if (to.startsWith('https://')) await post(to, note, { ca, signal });
      else await keepIn(to, note);
      this.#exported = { note, at: new Date() };
      this.#currentAtMs = Date.now();
    } catch (reason) {
      if (signal.aborted) return;
      const why = reason instanceof Error ? reason.message : String(reason);
      onAttempt('failed');
      const { since = new Date(), attempts = 0 } = this.#failure ?? {};
      this.#failure = { why, since, attempts: attempts + 1 };
      if (attempts === 0) log.warn({ err: reason, to }, 'checkpoints cannot be exported');
      return;
    }
    onAttempt('done');
    if (this.#failure !== undefined) {
      log.info({ to, attempts: this.#failure.attempts }, 'checkpoints are exported again');
    }
    this.#failure = undefined;
    this.#backoff.reset();
  }
}

/** One file for each size, and none is replaced: two that differ prove that a ledger was rewritten. */
async function keepIn(folder: string, note: string): Promise<void> {
  const checkpoint = claimedCheckpoint(note);
  if (checkpoint === undefined) throw new Error('the note is not a checkpoint');
  const { ledgerId, size, root } = checkpoint;
  const file = join(folder, `${ledgerId}-${String(size).padStart(16, '0')}.checkpoint`);
  const kept = claimedCheckpoint((await readIfThere(file)) ?? '');
  // What is not a note was cut short by a crash.
  if (kept === undefined) return writeAtomically(file, note);
  if (Buffer.from(kept.root).equals(root)) return;
  throw new Error(`${file} has another root: the ledger or that file was altered`);
}

async function post(
  url: string,
  note: string,
  { ca, signal }: { readonly ca: string | undefined; readonly signal: AbortSignal },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const options = {
    method: 'POST',
    ...(ca !== undefined && { ca }),
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    signal: AbortSignal.any([signal, AbortSignal.timeout(SEND_TIMEOUT_MS)]),
    agent: false,
  };
  const outgoing = request(url, options, (response) => {
    response.resume();
    const { statusCode = 0 } = response;
    if (statusCode >= 200 && statusCode < 300) resolve();
    else reject(new Error(`${url} answered with status ${statusCode}`));
  });
  outgoing.on('error', reject);
  outgoing.end(note);
  await promise;
}
