import { ZlError } from '@zerolatency/errors';
import type { ScriptRunner } from '@zerolatency/service/redis';
import type { KeptTurn } from '../../chat/turn-logs.ts';
import type { LogEntry, LogListener } from '../../turn/turn-log.ts';
import { encodeBatch } from './batch.ts';
import { APPEND, keysOf } from './scripts.ts';
import type { Seal, Sealing } from './sealing.ts';

/** failed: tried again later. fenced: another pod has ended the copy. lost: it was too far behind. */
export type AppendResult = 'written' | 'failed' | 'fenced' | 'lost';

export interface LogWriterOptions {
  readonly redis: Pick<ScriptRunner, 'run'>;
  readonly sealing: Sealing;
  /** Names this process, the only writer of its logs. */
  readonly pod: string;
  /** How long a log outlives its turn. */
  readonly windowMs: number;
  readonly onAppend: (result: AppendResult) => void;
}

/** One append takes the events of this long; a client that comes back does not notice the delay. */
const BATCH_MS = 20;
/** One append at most, unless a single event is larger. */
const MAX_BATCH_BYTES = 256 * 1024;
/** Interval of lease renewals; a cancel from another pod waits up to this long in a silent turn. */
const BEAT_MS = 1000;
/** A turn whose lease was not renewed for this long may have lost its pod. */
export const LEASE_MS = 5 * BEAT_MS;

interface Pending {
  readonly last: number;
  readonly batch: string;
}

/**
 * Copies the logs of this pod to Redis. It reads a log at its own pace, as any reader does, and the
 * turn never waits for it. A copy ends as broken when the log drops events before they are copied.
 */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #turns = new Set<WrittenTurn>();
  #beat: NodeJS.Timeout | undefined;
  #batch: NodeJS.Timeout | undefined;

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  begin(turn: KeptTurn): void {
    const written = new WrittenTurn(turn, {
      ...this.#options,
      seal: this.#options.sealing.of(turn.owner.tenant, turn.log.turnId),
      onDirty: () => this.#schedule(),
    });
    this.#turns.add(written);
    this.#schedule();
    this.#beat ??= setInterval(() => this.#onBeat(), BEAT_MS).unref();
  }

  /** Resolves when Redis has all that was logged, or does not answer. */
  async close(): Promise<void> {
    clearInterval(this.#beat);
    clearTimeout(this.#batch);
    await Promise.all([...this.#turns].map((turn) => turn.finish()));
  }

  #schedule(): void {
    this.#batch ??= setTimeout(() => {
      this.#batch = undefined;
      for (const turn of this.#turns) void turn.write(false);
      this.#forget();
    }, BATCH_MS);
  }

  #onBeat(): void {
    for (const turn of this.#turns) void turn.write(true);
    this.#forget();
    if (this.#turns.size > 0) return;
    clearInterval(this.#beat);
    this.#beat = undefined;
  }

  #forget(): void {
    for (const turn of this.#turns) if (turn.isOver) this.#turns.delete(turn);
  }
}

interface WrittenTurnOptions extends Omit<LogWriterOptions, 'sealing'> {
  readonly seal: Seal;
  readonly onDirty: () => void;
}

class WrittenTurn implements LogListener {
  /** The copy never delays a turn. */
  readonly takenBytes = Number.POSITIVE_INFINITY;
  isOver = false;
  #hasFailed = false;
  readonly #turn: KeptTurn;
  readonly #options: WrittenTurnOptions;
  readonly #owner: string;
  #next = 1;
  #begins = true;
  #pending: Pending | undefined;
  #writing: Promise<void> | undefined;
  #giveUpAtMs = Number.POSITIVE_INFINITY;

  constructor(turn: KeptTurn, options: WrittenTurnOptions) {
    this.#turn = turn;
    this.#options = options;
    this.#owner = JSON.stringify([turn.owner.tenant, turn.owner.user]);
    turn.log.attach(this);
  }

  onAppend(): void {
    if (!this.#hasFailed) this.#options.onDirty();
  }

  /** The last events of a turn that has ended. */
  async finish(): Promise<void> {
    await this.#writing;
    while (!this.isOver && !this.#hasFailed && this.#turn.log.isClosed) await this.write(true);
  }

  /** Also without news on a beat, which renews the lease. After a failure only a beat tries again. */
  async write(isBeat: boolean): Promise<void> {
    if (this.isOver || this.#writing !== undefined || (this.#hasFailed && !isBeat)) return;
    this.#writing = this.#writeOnce(isBeat);
    await this.#writing;
    this.#writing = undefined;
    const hasMore = this.#begins || this.#next < this.#turn.log.nextSequence;
    if (!this.isOver && !this.#hasFailed && hasMore) this.#options.onDirty();
  }

  async #writeOnce(isBeat: boolean): Promise<void> {
    const { log } = this.#turn;
    this.#pending ??= this.#collect();
    const pending = this.#pending;
    const isWhole = log.isClosed && (pending?.last ?? this.#next - 1) === log.nextSequence - 1;
    const isBroken = pending === undefined && log.firstSequence > this.#next;
    const ended = isBroken ? 'broken' : isWhole ? 'done' : '';
    if (pending !== undefined || ended !== '' || this.#begins || isBeat) {
      await this.#append(pending, ended);
    }
  }

  async #append(pending: Pending | undefined, ended: string): Promise<void> {
    const { redis, pod, windowMs } = this.#options;
    const { log } = this.#turn;
    const ttlMs = ended === '' ? Math.max(windowMs, 2 * LEASE_MS) : windowMs;
    const args = [pod, this.#owner, log.sessionId, this.#begins ? '1' : ''];
    const batch = [pending?.last ?? 0, pending?.batch ?? '', log.firstSequence];
    try {
      const keys = keysOf(log.turnId);
      const reply = await redis.run(APPEND, keys, [...args, ...batch, LEASE_MS, ttlMs, ended]);
      this.#hasFailed = false;
      this.#onReply(Array.isArray(reply) ? reply : [], pending, ended);
    } catch {
      this.#hasFailed = true;
      this.#options.onAppend('failed');
      this.#giveUpLate();
    }
  }

  #onReply([result, cancel]: unknown[], pending: Pending | undefined, ended: string): void {
    if (result === 'gone') this.#beginAgain();
    else if (result === 'written') this.#onWritten(pending, { cancel, ended });
    else this.#end('fenced');
  }

  #onWritten(
    pending: Pending | undefined,
    { cancel, ended }: { readonly cancel: unknown; readonly ended: string },
  ): void {
    this.#begins = false;
    this.#pending = undefined;
    if (pending !== undefined) this.#next = pending.last + 1;
    // The pod that asked has checked the owner; others may have written into Redis.
    if (cancel === this.#owner) {
      this.#turn.cancel(new ZlError('turn.cancelled', 'the client cancelled the turn'));
    }
    if (ended !== '') this.#end(ended === 'broken' ? 'lost' : 'written');
    else if (pending !== undefined) this.#options.onAppend('written');
  }

  /** Redis has lost the log, and gets it as far as it is still here. */
  #beginAgain(): void {
    this.#begins = true;
    this.#pending = undefined;
    this.#next = this.#turn.log.firstSequence;
    this.#options.onDirty();
  }

  /** A turn that has ended waits for Redis as long as its log is kept. */
  #giveUpLate(): void {
    const nowMs = performance.now();
    if (!this.#turn.log.isClosed) return;
    this.#giveUpAtMs = Math.min(this.#giveUpAtMs, nowMs + this.#options.windowMs);
    if (nowMs >= this.#giveUpAtMs) this.#end('lost');
  }

  #end(result: AppendResult): void {
    this.isOver = true;
    this.#turn.log.detach(this);
    this.#options.onAppend(result);
  }

  #collect(): Pending | undefined {
    const { log } = this.#turn;
    const entries: LogEntry[] = [];
    const first = log.at(this.#next);
    for (let entry = first; entry !== undefined; entry = log.at(entry.sequence + 1)) {
      if (first !== entry && entry.endBytes - (first?.startBytes ?? 0) > MAX_BATCH_BYTES) break;
      entries.push(entry);
    }
    const last = entries.at(-1)?.sequence;
    if (last === undefined) return undefined;
    return { last, batch: this.#options.seal.close(encodeBatch(entries), `${log.turnId} ${last}`) };
  }
}
