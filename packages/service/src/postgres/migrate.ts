import { ZlError } from '@zerolatency/errors';
import type { Postgres, Sql } from './postgres.ts';

export interface Migrations {
  /** The schema, which holds nothing else; a name without quotes. */
  readonly schema: string;
  /** Statements that lead from each version to the next; released ones never change. */
  readonly steps: readonly string[];
}

/** Keeps two programs that start together from both migrating. The number is arbitrary. */
const LOCK = 7_305_114_823;

const INSUFFICIENT_PRIVILEGE = '42501';

/** Brings the schema to this program's version. If it is current, no right to create is needed. */
export async function migrate(postgres: Postgres, { schema, steps }: Migrations): Promise<void> {
  if ((await versionOf(postgres, schema)) === steps.length) return;
  await postgres
    .transaction(async (sql) => {
      await sql.query(`SELECT pg_advisory_xact_lock(${LOCK})`);
      const version = await versionOf(sql, schema);
      if (version > steps.length) throw newer(postgres, { schema, version });
      if (version === 0) {
        await sql.query(`CREATE SCHEMA IF NOT EXISTS ${schema}`);
        await sql.query(`CREATE TABLE ${schema}.version (number integer NOT NULL)`);
        await sql.query(`INSERT INTO ${schema}.version VALUES (0)`);
      }
      for (const step of steps.slice(version)) await sql.query(step);
      await sql.query(`UPDATE ${schema}.version SET number = ${steps.length}`);
    })
    .catch((reason) => refuse(reason, { postgres, schema }));
}

/** For readers, which change nothing. */
export async function expectMigrated(
  postgres: Postgres,
  { schema, steps }: Migrations,
): Promise<void> {
  const version = await versionOf(postgres, schema).catch((reason) => {
    if (!isForbidden(reason)) throw reason;
    const grants = `USAGE on schema ${schema}, and SELECT on its tables`;
    const what = `this user may not read ${schema} in ${postgres.name}: grant it ${grants}`;
    throw new ZlError('config.invalid', what, { cause: reason });
  });
  if (version === steps.length) return;
  if (version > steps.length) throw newer(postgres, { schema, version });
  const what = `${postgres.name} has no schema ${schema} of this version`;
  throw new ZlError('config.invalid', `${what}: start a host of this version with this database`);
}

/** 0 before the first migration. */
async function versionOf(sql: Sql, schema: string): Promise<number> {
  const table = `${schema}.version`;
  const { rows } = await sql.query<{ found: boolean }>(
    'SELECT to_regclass($1) IS NOT NULL AS found',
    [table],
  );
  if (rows[0]?.found !== true) return 0;
  const { rows: versions } = await sql.query<{ number: number }>(`SELECT number FROM ${table}`);
  return versions[0]?.number ?? 0;
}

function newer(
  { name }: Postgres,
  { schema, version }: { readonly schema: string; readonly version: number },
): ZlError {
  const what = `${name} has schema ${schema} of version ${version}`;
  return new ZlError('config.invalid', `${what}, which is newer than this program`);
}

function refuse(
  reason: unknown,
  { postgres: { name }, schema }: { readonly postgres: Postgres; readonly schema: string },
): never {
  if (!isForbidden(reason)) throw reason;
  const what = `${name} has no schema ${schema} of this version, and this user may not create it`;
  const remedy = 'start one host as the owner of the database';
  throw new ZlError('config.invalid', `${what}: ${remedy}`, { cause: reason });
}

function isForbidden(reason: unknown): boolean {
  const cause = reason instanceof Error ? reason.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === INSUFFICIENT_PRIVILEGE;
}
