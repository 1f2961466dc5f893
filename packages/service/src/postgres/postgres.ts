import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import pg from 'pg';
import { resolveSecret, type SecretRef } from '../config/secret.ts';

export interface PostgresSettings {
  readonly url: SecretRef;
  /** Without it only an address of this machine is dialled. */
  readonly tls?: { readonly caFile: string } | undefined;
  readonly connections: number;
  readonly connectTimeoutMs: number;
  /** How long the server may take; the client waits a little longer. */
  readonly statementTimeoutMs: number;
}

export interface PostgresDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Runs on each new connection before its first statement; a rejection refuses the connection. */
  readonly onConnect?: (sql: Sql) => Promise<void>;
  /** What errors call the two settings. */
  readonly names?: { readonly url: string; readonly tls: string };
}

export interface Sql {
  /** @throws ZlError postgres.failed */
  query<Row extends object>(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ readonly rows: readonly Row[]; readonly count: number }>;
}

/** Connections are opened when they are needed, and again after the server was away. */
export interface Postgres extends Sql {
  /** Host, port and database, for messages. */
  readonly name: string;
  /** Commits when the work resolves, and rolls back when it rejects. */
  transaction<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
}

interface PostgresAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

const SETTING_NAMES = { url: 'postgres.url', tls: 'postgres.tls' };

const DEFAULT_PORT = 5432;

/** A frozen server keeps the client from saying goodbye. */
const CLOSE_PATIENCE_MS = 1_000;

/** The server's own timeout comes first, because its error says more. */
const CLIENT_GRACE_MS = 500;

/** A peer that vanished is noticed by the kernel, not by a statement that waits. */
const KEEPALIVE_MS = 5_000;

export async function openPostgres(
  settings: PostgresSettings,
  { env, onConnect, names = SETTING_NAMES }: PostgresDeps,
): Promise<Postgres> {
  const resolve = async () =>
    parsePostgresUrl(
      await resolveSecret(settings.url, { env, readFile: (path) => readFile(path, 'utf8') }),
      names.url,
    );
  const address = await resolve();
  assertPrivate(address, settings.tls, names.tls);
  const { host, port, user, database } = address;
  const name = `PostgreSQL ${host}:${port}/${database}`;
  const pool = new pg.Pool({
    ...{ host, port, user, database, application_name: 'zero-latency' },
    // Read again for each connection, so that a password is rotated without a restart.
    password: async () => (await resolve()).password,
    ssl: await tlsOf(settings, host),
    max: settings.connections,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    statement_timeout: settings.statementTimeoutMs,
    query_timeout: settings.statementTimeoutMs + CLIENT_GRACE_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_MS,
    ...(onConnect && { onConnect: (client: pg.ClientBase) => onConnect(sqlOf(client, name)) }),
  });
  // An idle connection that breaks is replaced when the next statement needs one.
  pool.on('error', () => {});
  return {
    name,
    ...sqlOf(pool, name),
    transaction: (work) => inTransaction(pool, name, work),
    close: () => closePool(pool),
  };
}

async function tlsOf({ tls }: PostgresSettings, host: string) {
  if (tls === undefined) return false;
  const ca = await readFile(tls.caFile, 'utf8');
  // Named, because the client would hold the certificate of an IP address to localhost.
  return { ca, host, minVersion: 'TLSv1.2' } as const;
}

function sqlOf(on: Pick<pg.ClientBase, 'query'> | pg.Pool, name: string): Sql {
  return {
    async query<Row extends object>(text: string, values: readonly unknown[] = []) {
      const { rows, rowCount } = await on
        .query<Row>(text, [...values])
        .catch((cause) => fail(name, cause));
      return { rows, count: rowCount ?? 0 };
    },
  };
}

async function inTransaction<Result>(
  pool: pg.Pool,
  name: string,
  work: (sql: Sql) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect().catch((cause) => fail(name, cause));
  const sql = sqlOf(client, name);
  let broken = true;
  try {
    await sql.query('BEGIN');
    const result = await work(sql);
    await sql.query('COMMIT');
    broken = false;
    return result;
  } finally {
    // The server rolls back what a closed connection has begun.
    client.release(broken);
  }
}

async function closePool(pool: pg.Pool): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, CLOSE_PATIENCE_MS);
  await Promise.race([pool.end(), promise]);
  clearTimeout(timer);
}

/** No message repeats the URL, which holds a password. */
function parsePostgresUrl(text: string, name: string): PostgresAddress {
  const wrong = (why: string) => wrongUrl(name, why);
  if (!URL.canParse(text)) throw wrong('it cannot be parsed');
  const { protocol, hostname, port, username, password, pathname, search } = new URL(text);
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') throw wrong('its scheme is another');
  if (search !== '') throw wrong('it has parameters, and TLS and timeouts are settings');
  const database = decodeURIComponent(pathname.slice(1));
  if (hostname === '' || username === '' || database === '') {
    throw wrong('it names no host, user or database');
  }
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? DEFAULT_PORT : Number(port),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database,
  };
}

function wrongUrl(name: string, why: string): ZlError {
  const form = 'postgres://<user>:<password>@<host>:<port>/<database>';
  return new ZlError('config.invalid', `the secret of ${name} is not ${form}: ${why}`);
}

/** What crosses a network in clear text can be read and altered there. */
function assertPrivate(
  { host }: PostgresAddress,
  tls: PostgresSettings['tls'],
  name: string,
): void {
  if (tls !== undefined || host === 'localhost' || host === '::1' || /^127\./.test(host)) return;
  throw new ZlError('config.invalid', `${name} is missing: ${host} is not on this machine`);
}

function fail(name: string, cause: unknown): never {
  if (cause instanceof ZlError) throw cause;
  const what = cause instanceof Error ? cause.message || cause.name : String(cause);
  throw new ZlError('postgres.failed', `${name}: ${what}`, { cause });
}
