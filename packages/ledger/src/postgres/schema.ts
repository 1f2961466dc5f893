import type { Migrations } from '@zerolatency/service/postgres';

/** A released step never changes: another one follows it. */
export const LEDGER_SCHEMA: Migrations = {
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
