import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import {
  eventually,
  makeAuthority,
  needsPostgres,
  type PostgresServer,
  startPostgres,
  tempDir,
} from '@zerolatency/testing';
import { migrate } from './migrate.ts';
import { openPostgres, type PostgresSettings } from './postgres.ts';

const STATEMENT_TIMEOUT_MS = 1_000;
const cleanups: (() => unknown)[] = [];
const suite = { after: (fn: () => unknown) => cleanups.push(fn) };
const authority = await makeAuthority(tempDir(suite));
let server: PostgresServer;

before(async () => {
  if (needsPostgres().skip !== false) return;
  server = await startPostgres({ dir: tempDir(suite), tls: await authority.server() });
});
after(async () => {
  await server?.stop();
  for (const cleanup of cleanups) await cleanup();
});

async function open(t: TestContext, settings: Partial<PostgresSettings> = {}, url = server.url()) {
  const postgres = await openPostgres(
    {
      url: { env: 'URL' },
      connections: 2,
      connectTimeoutMs: 2_000,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      ...settings,
    },
    { env: { URL: url } },
  );
  t.after(() => postgres.close());
  return postgres;
}

test(
  'what was committed is there after the server was killed, on new connections',
  needsPostgres(),
  async (t) => {
    const postgres = await open(t);
    await postgres.query('CREATE TABLE kept (number integer)');
    await postgres.query('INSERT INTO kept SELECT generate_series(1, $1::int)', [3]);
    await server.kill();
    await assert.rejects(postgres.query('SELECT 1'), { id: 'postgres.failed' });
    await server.start();
    const { rows } = await postgres.query<{ number: number }>('SELECT number FROM kept');
    assert.deepEqual(
      rows.map(({ number }) => number),
      [1, 2, 3],
    );
  },
);

test(
  'a frozen server fails a statement in bounded time, and is used again afterwards',
  needsPostgres(),
  async (t) => {
    const postgres = await open(t);
    await postgres.query('SELECT 1');
    server.freeze();
    t.after(() => server.thaw());
    await assert.rejects(postgres.query('SELECT 1'), { id: 'postgres.failed' });
    server.thaw();
    await eventually(() => postgres.query('SELECT 1'));
  },
);

test('a transaction that rejects leaves nothing', needsPostgres(), async (t) => {
  const postgres = await open(t);
  await postgres.query('CREATE TABLE undone (number integer)');
  const half = postgres.transaction(async (sql) => {
    await sql.query('INSERT INTO undone VALUES (1)');
    throw new Error('half way');
  });
  await assert.rejects(half, /half way/);
  assert.equal((await postgres.query('SELECT FROM undone')).count, 0);
});

test('the server must prove its name to the given authority', needsPostgres(), async (t) => {
  const { caFile } = authority;
  const ofThis = await open(t, { tls: { caFile } });
  const { rows } = await ofThis.query<{ ssl: boolean }>(
    'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
  );
  assert.deepEqual(rows, [{ ssl: true }]);
  const { caFile: stranger } = await makeAuthority(tempDir(t));
  const ofAnother = await open(t, { tls: { caFile: stranger } });
  await assert.rejects(ofAnother.query('SELECT 1'), {
    id: 'postgres.failed',
    message: /certificate/,
  });
});

test('clear text, parameters and other schemes are refused before a connection', async (t) => {
  const refused = {
    'postgres://me:secret@db.example/zl': /postgres.tls is missing/,
    'postgres://me:secret@127.0.0.1/zl?sslmode=disable': /parameters/,
    'mysql://me:secret@127.0.0.1/zl': /scheme/,
    'postgres://127.0.0.1': /no host, user or database/,
  };
  for (const [url, message] of Object.entries(refused)) {
    const opening = open(t, {}, url);
    await assert.rejects(opening, ({ message: text }: Error) => !text.includes('secret@'));
    await assert.rejects(opening, { id: 'config.invalid', message });
  }
});

test('a rotated password is read for the next connection', needsPostgres(), async (t) => {
  const file = join(tempDir(t), 'url');
  writeFileSync(file, server.url());
  const postgres = await open(t, { url: { file }, connections: 1 });
  await postgres.query("CREATE ROLE rotated LOGIN PASSWORD 'first'");
  writeFileSync(file, server.url().replace(/owner:\w+/, 'rotated:first'));
  const rotated = await open(t, { url: { file }, connections: 2 });
  await rotated.query('SELECT 1');
  await postgres.query("ALTER ROLE rotated PASSWORD 'second'");
  writeFileSync(file, server.url().replace(/owner:\w+/, 'rotated:second'));
  // The second needs another connection while the first holds one.
  await Promise.all([rotated.query('SELECT pg_sleep(0.1)'), rotated.query('SELECT 1')]);
});

test(
  'programs that start together migrate once, and one with fewer rights says what is missing',
  needsPostgres(),
  async (t) => {
    const steps = [
      'CREATE TABLE zl_test.one (number integer)',
      'CREATE TABLE zl_test.two (number integer)',
    ];
    const schema = 'zl_test';
    const owner = await open(t);
    await owner.query("CREATE ROLE pod LOGIN PASSWORD 'pod'");
    const pod = await open(t, {}, server.url().replace(/owner:\w+/, 'pod:pod'));
    await assert.rejects(migrate(pod, { schema, steps }), {
      id: 'config.invalid',
      message: /as the owner of the database/,
    });
    await migrate(owner, { schema, steps: steps.slice(0, 1) });
    await Promise.all([owner, await open(t)].map((each) => migrate(each, { schema, steps })));
    await owner.query('GRANT USAGE ON SCHEMA zl_test TO pod');
    await owner.query('GRANT SELECT ON zl_test.version TO pod');
    await migrate(pod, { schema, steps });
    await assert.rejects(migrate(owner, { schema, steps: steps.slice(0, 1) }), {
      message: /newer than this program/,
    });
  },
);
