import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openLedgerIn } from '@zerolatency/ledger';
import { PostgresLedgers } from '@zerolatency/ledger/postgres';
import { openPostgres } from '@zerolatency/service/postgres';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import {
  freePort,
  makeAuthority,
  needsPostgres,
  type PostgresServer,
  startPostgres,
  tempDir,
} from '@zerolatency/testing';
import { recordCall, TURN_ID } from '../../test/audited.ts';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { installed, type Ran, runZl } from '../../test/installed.ts';

const SETTINGS = {
  url: { env: 'URL' },
  connections: 2,
  connectTimeoutMs: 10_000,
  statementTimeoutMs: 10_000,
};
const FIRST = ['--postgres', 'env:FIRST'];

const cleanups: (() => unknown)[] = [];
const dir = tempDir({ after: (fn: () => unknown) => cleanups.push(fn) });
const host = generateKeyPair();
const signer = signerFromPem(host.privatePem);
const keys = ['--host-keys', join(dir, 'keys'), '--device-keys', join(dir, 'keys')];
let server: PostgresServer;
let authority: Awaited<ReturnType<typeof makeAuthority>>;
/** URLs by the variable that holds each. */
let env: Record<string, string>;

before(async () => {
  if (needsPostgres().skip !== false) return;
  await mkdir(join(dir, 'keys'));
  await writeFile(join(dir, 'keys', 'host.pem'), host.publicPem);
  authority = await makeAuthority(dir);
  server = await startPostgres({
    dir: tempDir({ after: (fn: () => unknown) => cleanups.push(fn) }),
    tls: await authority.server(),
  });
  await inDatabase(
    'postgres',
    'CREATE DATABASE first',
    'CREATE DATABASE many',
    'CREATE DATABASE bare',
  );
  const auditor = (name: string) => server.url(name).replace(/owner:\w+/, 'auditor:hidden');
  env = {
    FIRST: auditor('first'),
    MANY: auditor('many'),
    BARE: auditor('bare'),
    AWAY: auditor('first').replace(/:\d+\//, `:${await freePort()}/`),
    REMOTE: 'postgres://auditor:hidden@db.example/first',
    OTHER: 'mysql://auditor:hidden@127.0.0.1/first',
    FORBIDDEN: server.url('first').replace(/owner:\w+/, 'stranger:hidden'),
  };
  for (const role of ['auditor', 'stranger']) {
    await inDatabase('postgres', `CREATE ROLE ${role} LOGIN PASSWORD 'hidden'`);
  }
  await writeLedgers('first', 1);
  await writeLedgers('many', 3);
});
after(async () => {
  await server?.stop();
  for (const cleanup of cleanups) await cleanup();
});

async function inDatabase(name: string, ...statements: string[]): Promise<void> {
  const postgres = await openPostgres(SETTINGS, { env: { URL: server.url(name) } });
  for (const statement of statements) await postgres.query(statement);
  await postgres.close();
}

async function writeLedgers(name: string, count: number): Promise<void> {
  const origin = 'zerolatency/test';
  const ledgers = await PostgresLedgers.open(SETTINGS, { env: { URL: server.url(name) }, origin });
  for (let i = 0; i < count; i++) {
    const ledger = await openLedgerIn(ledgers.create(), { origin, signer, maxSegmentBytes: 1_000 });
    await recordCall(ledger, signer);
    await ledger.end();
  }
  await ledgers.close();
  const [usage, select] = ['USAGE ON SCHEMA', 'SELECT ON ALL TABLES IN SCHEMA'];
  for (const right of [usage, select]) {
    await inDatabase(name, `GRANT ${right} zl_ledger TO auditor`);
  }
}

function zl(...args: string[]): Promise<Ran> {
  return runZl(fakeTerminal({ cwd: dir, env }), args);
}

async function listed(variable: string): Promise<{ ledgerId: string }[]> {
  const { stdout } = await zl('audit', 'list', '--postgres', `env:${variable}`, '--json');
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

test(
  '[AUD-01] the audit commands read PostgreSQL as they read its export, with SELECT alone',
  needsPostgres(),
  async () => {
    const out = join(dir, 'exported', 'ledger');
    const exported = await zl('audit', 'export', out, ...FIRST);
    assert.equal(exported.status, 0, exported.stderr);
    assert.match(exported.stdout, /^\d+ records in [2-9] segments and 1 bundle written to /);
    assert.deepEqual(
      (await readdir(out)).filter((name) => !name.startsWith('segment-')),
      ['bundles', 'checkpoint'],
    );
    const verified = await zl('audit', 'verify', ...FIRST, ...keys);
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    assert.match(verified.stdout, /\nValid: \d+ records, root /);
    assert.match(verified.stdout, /^ {2}1 decision made again with the bundles kept$/m);
    const commands = [
      ['verify', ...keys],
      ['verify', '--json', ...keys],
      ['show', '--json'],
      ['show', '--turn', TURN_ID],
      ['prove', '--record', '2'],
    ];
    for (const [command = '', ...options] of commands) {
      const fromFolder = await zl('audit', command, out, ...options);
      assert.deepEqual(await zl('audit', command, ...FIRST, ...options), fromFolder);
      assert.equal(fromFolder.status, 0, fromFolder.stderr);
    }
    const again = await zl('audit', 'export', out, ...FIRST);
    assert.match(again.stderr, /file\.unusable: \S+ is not empty; name a new folder/);
  },
);

test(
  '[AUD-04] a witness misses a ledger that its database does not hold',
  needsPostgres(),
  async () => {
    const witness = join(dir, 'witness');
    await mkdir(witness);
    const keep = async (variable: string, ledgerId: string) => {
      const out = join(dir, 'witnessed', ledgerId);
      await zl('audit', 'export', out, '--postgres', `env:${variable}`, '--ledger', ledgerId);
      await copyFile(join(out, 'checkpoint'), join(witness, `${ledgerId}.checkpoint`));
    };
    const all = await listed('MANY');
    for (const { ledgerId } of all) await keep('MANY', ledgerId);
    const args = ['--postgres', 'env:MANY', '--ledger', all[0]?.ledgerId ?? ''];
    const verify = () => zl('audit', 'verify', ...args, ...keys, '--witness', witness);
    const whole = await verify();
    assert.equal(whole.status, 0, whole.stdout + whole.stderr);
    const [elsewhere] = await listed('FIRST');
    await keep('FIRST', elsewhere?.ledgerId ?? '');
    const { status, stdout } = await verify();
    assert.equal(status, 1, stdout);
    assert.match(stdout, new RegExp(`not here: ledger ${elsewhere?.ledgerId} of the same host`));
  },
);

test('[CLI-02] zl why finds a turn in PostgreSQL', needsPostgres(), async (t) => {
  const { zl: inHome } = await installed(t);
  const [ledger] = await listed('MANY');
  const args = ['why', 'last', '--postgres', 'env:MANY', '--ledger', ledger?.ledgerId ?? ''];
  const { stdout, stderr } = await inHome(args, { env });
  assert.match(stdout, /call 0123456789abcdef0123456789abcdef fs\.read failed/, stderr);
});

test(
  'a database with several ledgers lists them, and each is read by its id',
  needsPostgres(),
  async () => {
    const many = ['--postgres', 'env:MANY'];
    const all = await listed('MANY');
    assert.equal(all.length, 3);
    const { stdout } = await zl('audit', 'list', ...many);
    assert.match(stdout, /^[0-9a-f]{32} {2}opened \S+Z {2}ended \S+Z {2}zerolatency\/test$/m);
    const unnamed = await zl('audit', 'verify', ...many, ...keys);
    assert.equal(unnamed.status, 2);
    assert.match(unnamed.stderr, /has 3 ledgers: choose one with --ledger; "zl audit list" lists/);
    for (const { ledgerId } of all) {
      const verified = await zl(
        'audit',
        'verify',
        ...many,
        '--ledger',
        ledgerId.slice(0, 20),
        ...keys,
      );
      assert.match(verified.stdout, new RegExp(`^Ledger ${ledgerId} of zerolatency/test\n`));
      assert.equal(verified.status, 0);
    }
  },
);

test(
  '[AUD-01] an altered row in PostgreSQL is named, also in its export',
  needsPostgres(),
  async () => {
    const [ledger] = (await listed('MANY')).slice(-1);
    const args = ['--postgres', 'env:MANY', '--ledger', ledger?.ledgerId ?? ''];
    await inDatabase(
      'many',
      `UPDATE zl_ledger.records SET line = replace(line, '"user":"user-1"', '"user":"user-9"')
     WHERE ledger_id = '${ledger?.ledgerId}' AND line LIKE '%"kind":"call.intent"%'`,
    );
    const out = join(dir, 'altered');
    assert.equal((await zl('audit', 'export', out, ...args)).status, 0);
    for (const place of [[out], args]) {
      const { status, stdout } = await zl('audit', 'verify', ...place, ...keys);
      assert.equal(status, 1, stdout);
      assert.match(stdout, /^Altered: record \d+, segment-\d+\.jsonl, line \d+ /m);
    }
  },
);

test('the server is verified by the given authority', needsPostgres(), async (t) => {
  const verify = (ca: string) => zl('audit', 'verify', ...FIRST, '--postgres-ca', ca, ...keys);
  assert.equal((await verify(authority.caFile)).status, 0);
  const { caFile: stranger } = await makeAuthority(tempDir(t));
  const { status, stderr } = await verify(stranger);
  assert.equal(status, 1);
  assert.match(stderr, /postgres\.failed: .*certificate/);
});

test(
  'a mistake with a database is told in one line, without the password',
  needsPostgres(),
  async () => {
    const mistakes: Readonly<Record<string, readonly [args: readonly string[], says: RegExp]>> = {
      'no such ledger': [
        ['env:FIRST', '--ledger', 'none'],
        /has no ledger none; "zl audit list" li/,
      ],
      'the database is away': [
        ['env:AWAY'],
        /postgres\.failed: PostgreSQL 127\.0\.0\.1:\d+\/first: /,
      ],
      'no schema': [['env:BARE'], /\/bare has no schema zl_ledger .*: start a host/],
      'no rights': [['env:FORBIDDEN'], /may not read zl_ledger in .*: grant it USAGE on schema/],
      'clear text': [
        ['env:REMOTE'],
        /--postgres-ca is missing: db\.example is not on this machine/,
      ],
      'another scheme': [['env:OTHER'], /the secret of --postgres is not postgres:\/\/<user>/],
      'the URL itself': [[env.FIRST ?? ''], /--postgres takes env:NAME or file:PATH/],
      'no file': [['file:none'], /the secret file none cannot be read/],
      'no authority': [
        ['env:FIRST', '--postgres-ca', 'none.pem'],
        /cannot read none\.pem: no such/,
      ],
    };
    for (const [mistake, [args, says]] of Object.entries(mistakes)) {
      const { status, stdout, stderr } = await zl(
        'audit',
        'verify',
        ...keys,
        '--postgres',
        ...args,
      );
      assert.match(stderr, says, mistake);
      assert.equal(stderr.trimEnd().split('\n').length, 2, `${mistake}: one line, and its help`);
      assert.doesNotMatch(stdout + stderr, /internal:|\n\s+at |ENOENT|hidden/, mistake);
      assert.ok(status === 1 || status === 2, mistake);
    }
  },
);
