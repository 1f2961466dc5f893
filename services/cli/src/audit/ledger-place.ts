import { ZlError } from '@zerolatency/errors';
import type { LedgerSource } from '@zerolatency/ledger';
import type { LedgerListing } from '@zerolatency/ledger/postgres';
import { counted } from '@zerolatency/service/counted';
import type { Postgres } from '@zerolatency/service/postgres';
import { readAuthorities } from '../input.ts';
import type { Terminal } from '../terminal.ts';

/** A database, as the options of a command name it. */
export interface DatabaseOptions {
  /** `env:NAME` or `file:PATH`, so that no password is on a command line. */
  readonly postgres?: string | undefined;
  readonly postgresCa?: string | undefined;
}

export interface LedgerPlace extends DatabaseOptions {
  /** Named by the command line. */
  readonly dir?: string | undefined;
  /** Read where neither a folder nor a database is named. */
  folder(): string;
  /** The id of a ledger in the database, or its first digits. */
  readonly ledger?: string | undefined;
}

/** Names that the errors of openPostgres use in place of a host's settings. */
const NAMES = { url: '--postgres', tls: '--postgres-ca' };

const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 30_000;

/** Reads a ledger of files or of PostgreSQL, whichever is named. The ids are those that its database holds. */
export async function withLedger<Result>(
  { dir, folder, postgres, postgresCa, ledger }: LedgerPlace,
  env: Terminal['env'],
  read: (ledger: string | LedgerSource, ids: readonly string[]) => Promise<Result>,
): Promise<Result> {
  if (postgres === undefined) {
    if (ledger === undefined && postgresCa === undefined) return read(dir ?? folder(), []);
    throw new ZlError('request.invalid', 'name the database of the ledger with --postgres');
  }
  if (dir !== undefined) {
    throw new ZlError('request.invalid', `name either the folder ${dir} or --postgres`);
  }
  return withDatabase({ postgres, postgresCa }, env, async (database) => {
    const { listLedgers, sourceIn } = await import('@zerolatency/ledger/postgres');
    const all = await listLedgers(database);
    const { ledgerId } = chosen(all, { ledger, name: database.name });
    const ids = all.map((one) => one.ledgerId);
    return read(sourceIn(database, ledgerId), ids);
  });
}

export async function withDatabase<Result>(
  { postgres = '', postgresCa }: DatabaseOptions,
  env: Terminal['env'],
  read: (database: Postgres) => Promise<Result>,
): Promise<Result> {
  const [, kind, name = ''] = /^(env|file):(.+)$/s.exec(postgres) ?? [];
  // What was given is not repeated: it may be a URL with its password.
  if (kind === undefined) {
    const why = 'so that the password of the URL is not on the command line';
    throw new ZlError('request.invalid', `--postgres takes env:NAME or file:PATH, ${why}`);
  }
  if (postgresCa !== undefined) await readAuthorities(postgresCa);
  // Only a ledger in PostgreSQL loads its client.
  const { openPostgres } = await import('@zerolatency/service/postgres');
  const database = await openPostgres(
    {
      url: kind === 'env' ? { env: name } : { file: name },
      ...(postgresCa !== undefined && { tls: { caFile: postgresCa } }),
      connections: 1,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    },
    { env, names: NAMES },
  );
  try {
    return await read(database);
  } finally {
    await database.close();
  }
}

function chosen(
  ledgers: readonly LedgerListing[],
  { ledger = '', name }: { readonly ledger: string | undefined; readonly name: string },
): LedgerListing {
  const named = ledgers.filter(({ ledgerId }) => ledgerId.startsWith(ledger.toLowerCase()));
  const [one] = named;
  if (one !== undefined && named.length === 1) return one;
  const all = counted(ledgers.length, 'ledger');
  if (one !== undefined) {
    const which = ledger === '' ? '' : `, of which ${named.length} begin with ${ledger}`;
    const remedy = 'choose one with --ledger; "zl audit list" lists them';
    throw new ZlError('request.invalid', `${name} has ${all}${which}: ${remedy}`);
  }
  const what = ledger === '' ? 'no ledger yet' : `no ledger ${ledger}`;
  const which = ledgers.length === 0 ? '' : `; "zl audit list" lists its ${all}`;
  throw new ZlError('request.not_found', `${name} has ${what}${which}`);
}
