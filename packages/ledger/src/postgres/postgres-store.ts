import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type { Postgres } from '@zerolatency/service/postgres';
import type { Segment } from '../segments.ts';
import type { LedgerSource, LedgerStore, StoredRecord, WriterLock } from '../store.ts';
import { postgresSource } from './postgres-source.ts';

export interface StoreOptions {
  readonly postgres: Postgres;
  readonly origin: string;
  readonly beatEveryMs: number;
  /** How long an append tries to learn whether it was committed. */
  readonly patienceMs: number;
  readonly onSynced?: ((seconds: number) => void) | undefined;
  /** Ids of the ledgers that this process writes now. */
  readonly writing: Set<string>;
}

const RETRY_MS = 100;

/** Until the records are committed, the lock on the ledger's row keeps other hosts from taking it over. */
const APPEND = `
  WITH held AS (
    SELECT 1 FROM zl_ledger.ledgers WHERE ledger_id = $1 AND epoch = $2 FOR KEY SHARE
  )
  INSERT INTO zl_ledger.records (ledger_id, index, begins_segment, line)
  SELECT $1, $3::bigint + place - 1, $3::bigint + place - 1 = ANY($4::bigint[]), line
  FROM held, string_to_table($5, E'\\n') WITH ORDINALITY AS lines (line, place)`;

/** The chain of one writer, which its epoch fences: no statement of an earlier epoch can append. */
export class PostgresStore implements LedgerStore {
  readonly isDurable = true;
  readonly ledgerId: string;
  readonly #options: StoreOptions;
  readonly #source: LedgerSource;
  readonly #writer: string;
  #isNew: boolean;
  #epoch = '0';
  #isSuperseded = false;
  #beat: NodeJS.Timeout | undefined;
  #bundles = new Map<string, Uint8Array>();

  /** A new ledger, or one that this writer has taken over. */
  constructor(
    options: StoreOptions,
    taken?: { readonly ledgerId: string; readonly writer: string },
  ) {
    this.#options = options;
    this.#isNew = taken === undefined;
    this.ledgerId = taken?.ledgerId ?? randomBytes(16).toString('hex');
    this.#writer = taken?.writer ?? newWriter();
    const { postgres } = options;
    this.#source = postgresSource(postgres, postgres.name, this.ledgerId);
  }

  get name(): string {
    return this.#source.name;
  }

  newLedgerId(): string {
    return this.ledgerId;
  }

  segments(): ReturnType<LedgerSource['segments']> {
    return this.#source.segments();
  }

  lines(segment: Segment): ReturnType<LedgerSource['lines']> {
    return this.#source.lines(segment);
  }

  checkpoint(): ReturnType<LedgerSource['checkpoint']> {
    return this.#source.checkpoint();
  }

  bundle(digest: string): ReturnType<LedgerSource['bundle']> {
    return this.#source.bundle(digest);
  }

  async lock(): Promise<WriterLock> {
    const { postgres, origin, beatEveryMs, writing } = this.#options;
    if (this.#isNew) {
      await postgres.query(
        `INSERT INTO zl_ledger.ledgers (ledger_id, origin, writer) VALUES ($1, $2, $3)
         ON CONFLICT (ledger_id) DO NOTHING`,
        [this.ledgerId, origin, this.#writer],
      );
    }
    await this.#fence();
    this.#isNew = false;
    writing.add(this.ledgerId);
    this.#beat ??= setInterval(() => void this.#showLife(), beatEveryMs).unref();
    const release = () => {
      clearInterval(this.#beat);
      this.#beat = undefined;
      writing.delete(this.ledgerId);
    };
    return { isHeld: () => !this.#isSuperseded, release, abandon: release };
  }

  async resume(): Promise<void> {}

  /** A lost connection leaves open whether the batch was committed, so it is looked up. */
  async append(batch: readonly StoredRecord[]): Promise<void> {
    const startedMs = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        if (attempt > 1) {
          await this.#fence();
          if (await this.#holds(batch)) break;
        }
        await this.#insert(batch);
        break;
      } catch (reason) {
        const isOver = performance.now() - startedMs > this.#options.patienceMs;
        if (isOver || !(reason instanceof ZlError && reason.id === 'postgres.failed')) throw reason;
        await sleep(RETRY_MS);
      }
    }
    this.#options.onSynced?.((performance.now() - startedMs) / 1000);
  }

  async replaceCheckpoint(note: string): Promise<void> {
    const [, size] = note.split('\n');
    // One that was delayed on its way must not replace a later one.
    const { count } = await this.#options.postgres.query(
      `UPDATE zl_ledger.ledgers SET checkpoint = $3, checkpoint_size = $4
       WHERE ledger_id = $1 AND writer = $2 AND checkpoint_size <= $4`,
      [this.ledgerId, this.#writer, note, size],
    );
    if (count === 0) await this.#assertOwn();
  }

  keepBundle(digest: string, text: Uint8Array): void {
    this.#bundles.set(digest, text);
  }

  async end(): Promise<void> {
    await this.#options.postgres.query(
      'UPDATE zl_ledger.ledgers SET ended_at = now() WHERE ledger_id = $1 AND writer = $2',
      [this.ledgerId, this.#writer],
    );
  }

  async successor(): Promise<LedgerStore | undefined> {
    await this.#assertOwn().catch((reason) => {
      if (!this.#isSuperseded) throw reason;
    });
    return this.#isSuperseded ? new PostgresStore(this.#options) : undefined;
  }

  async close(): Promise<void> {}

  async #insert(batch: readonly StoredRecord[]): Promise<void> {
    const { postgres } = this.#options;
    for (const [digest, text] of this.#bundles) {
      await postgres.query(
        'INSERT INTO zl_ledger.bundles (digest, body) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING',
        [digest, Buffer.from(text).toString('utf8')],
      );
      this.#bundles.delete(digest);
    }
    const starts = batch.flatMap(({ segment, index }) => (segment === undefined ? [] : [index]));
    const first = batch[0]?.index;
    const { count } = await postgres.query(APPEND, [
      ...[this.ledgerId, this.#epoch, first, starts],
      batch.map(textOf).join('\n'),
    ]);
    if (count === batch.length) return;
    await this.#assertOwn();
    // An earlier fence was committed and its answer was lost.
    throw new ZlError('postgres.failed', `${this.name} has a later epoch`);
  }

  /** After a fence, which waits for appends under way. A batch is committed as a whole. */
  async #holds(batch: readonly StoredRecord[]): Promise<boolean> {
    const last = batch.at(-1);
    if (last === undefined) return true;
    const { rows } = await this.#options.postgres.query<{ line: string }>(
      'SELECT line FROM zl_ledger.records WHERE ledger_id = $1 AND index = $2',
      [this.ledgerId, last.index],
    );
    const [row] = rows;
    if (row !== undefined && row.line !== textOf(last)) {
      throw new ZlError('ledger.corrupt', `record ${last.index} of ${this.name} is another`);
    }
    return row !== undefined;
  }

  /** From now on no append that was sent before can succeed. */
  async #fence(): Promise<void> {
    const key = [this.ledgerId, this.#writer];
    const epoch = await this.#options.postgres.transaction(async (sql) => {
      // Not the UPDATE alone: it would not wait for an append that holds the row.
      const { count } = await sql.query(
        'SELECT 1 FROM zl_ledger.ledgers WHERE ledger_id = $1 AND writer = $2 FOR UPDATE',
        key,
      );
      if (count === 0) return undefined;
      const { rows } = await sql.query<{ epoch: string }>(
        'UPDATE zl_ledger.ledgers SET epoch = epoch + 1 WHERE ledger_id = $1 AND writer = $2 RETURNING epoch',
        key,
      );
      return rows[0]?.epoch;
    });
    if (epoch === undefined) return this.#assertOwn();
    this.#epoch = epoch;
  }

  /** Tells the other hosts that this one is alive; one that cannot is noticed by its appends. */
  async #showLife(): Promise<void> {
    const beat = this.#options.postgres.query(
      'UPDATE zl_ledger.ledgers SET beat = beat + 1 WHERE ledger_id = $1 AND writer = $2',
      [this.ledgerId, this.#writer],
    );
    await beat
      .then(async ({ count }) => {
        if (count === 0) await this.#assertOwn();
      })
      .catch(() => {});
  }

  async #assertOwn(): Promise<void> {
    const { rows } = await this.#options.postgres.query<{ writer: string }>(
      'SELECT writer FROM zl_ledger.ledgers WHERE ledger_id = $1',
      [this.ledgerId],
    );
    const [row] = rows;
    if (row === undefined)
      throw new ZlError('ledger.corrupt', `${this.name} is not there any more`);
    if (row.writer === this.#writer) return;
    this.#isSuperseded = true;
    throw new ZlError('ledger.failed', `another host has taken over ${this.name}`);
  }
}

export function newWriter(): string {
  return randomBytes(16).toString('hex');
}

/** Without its line feed. */
function textOf({ line }: StoredRecord): string {
  return Buffer.from(line.buffer, line.byteOffset, line.byteLength - 1).toString('utf8');
}
