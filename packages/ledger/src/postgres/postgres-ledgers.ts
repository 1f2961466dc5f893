import { ZlError } from '@zerolatency/errors';
import {
  expectMigrated,
  type Migrations,
  migrate,
  openPostgres,
  type Postgres,
  type PostgresDeps,
  type PostgresSettings,
  type Sql,
} from '@zerolatency/service/postgres';
import type { LedgerSource } from '../store.ts';
import { postgresSource } from './postgres-source.ts';
import { newWriter, PostgresStore, type StoreOptions } from './postgres-store.ts';

/** A host that shows no life for four beats has left its ledger, so one is ended within 30 s. */
const BEAT_EVERY_MS = 4_000;
const BEATS_MISSED = 4;

export interface LedgersOptions {
  readonly env: PostgresDeps['env'];
  readonly origin: string;
  readonly onSynced?: StoreOptions['onSynced'];
  readonly beatEveryMs?: number;
}

/** The ledgers of one origin in one database, for a host that writes one of them. */
export class PostgresLedgers {
  readonly #postgres: Postgres;
  readonly #options: StoreOptions;
  readonly #seen = new Map<string, { readonly beat: string; readonly sinceMs: number }>();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  static async open(settings: PostgresSettings, options: LedgersOptions): Promise<PostgresLedgers> {
    const { env } = options;
    const postgres = await openPostgres(settings, { env, onConnect: assertDurable });
    await migrate(postgres, LEDGER_SCHEMA).catch(async (reason) => {
      await postgres.close();
      throw reason;
    });
    return new PostgresLedgers(postgres, {
      ...{ postgres, writing: new Set(), patienceMs: settings.statementTimeoutMs },
      ...{ origin: options.origin, onSynced: options.onSynced },
      beatEveryMs: options.beatEveryMs ?? BEAT_EVERY_MS,
    });
  }

  private constructor(postgres: Postgres, options: StoreOptions) {
    this.#postgres = postgres;
    this.#options = options;
  }

  get beatEveryMs(): number {
    return this.#options.beatEveryMs;
  }

  /** The store of a new ledger. */
  create(): PostgresStore {
    return new PostgresStore(this.#options);
  }

  /**
   * Takes over the ledgers whose hosts have shown no life while this one watched; asked once a beat.
   * A watch that was interrupted begins anew, since then this host may be the one that was away.
   */
  async takeAbandoned(nowMs = performance.now()): Promise<readonly PostgresStore[]> {
    const { beatEveryMs, origin, writing } = this.#options;
    if (nowMs - this.#lookedAtMs > 2 * beatEveryMs) this.#seen.clear();
    const { rows } = await this.#postgres.query<{ ledger_id: string; beat: string }>(
      `SELECT ledger_id, epoch || '.' || beat AS beat FROM zl_ledger.ledgers
       WHERE origin = $1 AND ended_at IS NULL AND ledger_id <> ALL($2)`,
      [origin, [...writing]],
    );
    this.#lookedAtMs = nowMs;
    const taken: PostgresStore[] = [];
    for (const { ledger_id: ledgerId, beat } of rows) {
      const seen = this.#seen.get(ledgerId);
      if (seen?.beat !== beat) this.#seen.set(ledgerId, { beat, sinceMs: nowMs });
      else if (nowMs - seen.sinceMs >= BEATS_MISSED * beatEveryMs) {
        const store = await this.#take(ledgerId, beat);
        if (store !== undefined) taken.push(store);
        this.#seen.delete(ledgerId);
      }
    }
    return taken;
  }

  close(): Promise<void> {
    return this.#postgres.close();
  }

  /** Undefined when its host, or another one, was faster. */
  async #take(ledgerId: string, beat: string): Promise<PostgresStore | undefined> {
    const writer = newWriter();
    const isTaken = await this.#postgres.transaction(async (sql) => {
      // Waits for an append under way, which the next epoch would otherwise not fence.
      await sql.query('SELECT 1 FROM zl_ledger.ledgers WHERE ledger_id = $1 FOR UPDATE', [
        ledgerId,
      ]);
      const { count } = await sql.query(
        `UPDATE zl_ledger.ledgers SET writer = $3, epoch = epoch + 1
         WHERE ledger_id = $1 AND epoch || '.' || beat = $2 AND ended_at IS NULL`,
        [ledgerId, beat, writer],
      );
      return count === 1;
    });
    return isTaken ? new PostgresStore(this.#options, { ledgerId, writer }) : undefined;
  }
}

export interface LedgerListing {
  readonly ledgerId: string;
  readonly origin: string;
  readonly openedAt: Date;
  readonly endedAt: Date | null;
}

/** For readers, who need no more than SELECT. */
export async function listLedgers(postgres: Postgres): Promise<readonly LedgerListing[]> {
  await expectMigrated(postgres, LEDGER_SCHEMA);
  const { rows } = await postgres.query<LedgerListing>(
    `SELECT ledger_id AS "ledgerId", origin, opened_at AS "openedAt", ended_at AS "endedAt"
     FROM zl_ledger.ledgers ORDER BY opened_at, ledger_id`,
  );
  return rows;
}

export function sourceIn(postgres: Postgres, ledgerId: string): LedgerSource {
  return postgresSource(postgres, postgres.name, ledgerId);
}

const NEEDED: Readonly<Record<string, readonly string[]>> = {
  synchronous_commit: ['on', 'remote_apply'],
  fsync: ['on'],
  full_page_writes: ['on'],
  server_encoding: ['UTF8'],
};

/** Acknowledged means committed, and committed means on disk, on each connection. */
async function assertDurable(sql: Sql): Promise<void> {
  const { rows } = await sql.query<{ name: string; setting: string }>(
    'SELECT name, setting FROM pg_settings WHERE name = ANY($1)',
    [Object.keys(NEEDED)],
  );
  for (const { name, setting } of rows) {
    const allowed = NEEDED[name] ?? [];
    if (allowed.includes(setting)) continue;
    throw new ZlError(
      'config.invalid',
      `the ledger needs ${name} ${allowed.join(' or ')} in PostgreSQL, and it is ${setting}`,
    );
  }
}

/** A released step never changes: another one follows it. */
const LEDGER_SCHEMA: Migrations = {
  schema: 'zl_ledger',
  steps: [
    `CREATE TABLE zl_ledger.ledgers (
       ledger_id text PRIMARY KEY CHECK (ledger_id ~ '^[0-9a-f]{32}$'),
       origin text NOT NULL,
       writer text NOT NULL,
       epoch bigint NOT NULL DEFAULT 0,
       beat bigint NOT NULL DEFAULT 0,
       checkpoint text,
       checkpoint_size bigint NOT NULL DEFAULT 0,
       opened_at timestamptz NOT NULL DEFAULT now(),
       ended_at timestamptz
     );
     CREATE INDEX ledgers_open ON zl_ledger.ledgers (origin) WHERE ended_at IS NULL;
     CREATE TABLE zl_ledger.records (
       ledger_id text NOT NULL,
       index bigint NOT NULL CHECK (index >= 0),
       begins_segment boolean NOT NULL,
       line text NOT NULL,
       PRIMARY KEY (ledger_id, index)
     );
     CREATE INDEX records_segments ON zl_ledger.records (ledger_id, index) WHERE begins_segment;
     CREATE TABLE zl_ledger.bundles (
       digest text PRIMARY KEY,
       body text NOT NULL
     )`,
  ],
};
