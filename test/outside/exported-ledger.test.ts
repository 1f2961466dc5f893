import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { exportLedger, openLedger, verifyLedger } from '@zerolatency/ledger';
import { PostgresLedgers, sourceIn } from '@zerolatency/ledger/postgres';
import { openPostgres, type Sql } from '@zerolatency/service/postgres';
import { needsPostgres, startPostgres, tempDir } from '@zerolatency/testing';
import { ALTERATIONS, device, honestDrafts, host, KEYS, writeLedger } from './altered-ledgers.ts';
import { needsPython, ourVerdict, verifyOutside, writeKeys } from './second-verifier.ts';

const SETTINGS = {
  url: { env: 'URL' },
  connections: 2,
  connectTimeoutMs: 10_000,
  statementTimeoutMs: 10_000,
};
/** Each alteration costs a ledger in both forms. */
const EVERY = 6;

const keys = [host.verifier()];
const receiptKeys = { hostKeys: keys, deviceKeys: [device.verifier()] };

/** The files of a ledger as rows, each line without its line feed. */
async function load(sql: Sql, dir: string, ledgerId: string): Promise<void> {
  const read = (name: string) => readFileSync(join(dir, name), 'utf8');
  let index = 0;
  for (const name of readdirSync(dir).sort()) {
    if (!name.startsWith('segment-')) continue;
    for (const [i, line] of read(name).trimEnd().split('\n').entries()) {
      await sql.query('INSERT INTO zl_ledger.records VALUES ($1, $2, $3, $4)', [
        ...[ledgerId, index++, i === 0, line],
      ]);
    }
  }
  await sql.query(
    `INSERT INTO zl_ledger.ledgers (ledger_id, origin, writer, checkpoint) VALUES ($1, '', '', $2)`,
    [ledgerId, read('checkpoint')],
  );
  for (const file of bundlesIn(dir)) {
    const digest = `sha256:${basename(file, '.json')}`;
    await sql.query('INSERT INTO zl_ledger.bundles VALUES ($1, $2) ON CONFLICT DO NOTHING', [
      ...[digest, read(file)],
    ]);
  }
}

/** A bundle that no readable record names is not exported, and nothing else is left out. */
function assertSameBytes(out: string, folder: string): void {
  const filesOf = (dir: string) =>
    readdirSync(dir)
      .filter((name) => /^(segment-.*|checkpoint)$/.test(name))
      .sort();
  assert.deepEqual(filesOf(out), filesOf(folder));
  for (const name of [...filesOf(out), ...bundlesIn(out)]) {
    assert.equal(
      readFileSync(join(out, name), 'hex'),
      readFileSync(join(folder, name), 'hex'),
      out,
    );
  }
}

function bundlesIn(dir: string): string[] {
  if (!existsSync(join(dir, 'bundles'))) return [];
  return readdirSync(join(dir, 'bundles')).map((file) => join('bundles', file));
}

test('[AUD-01] [AUD-04] rows and files of the same records verify alike, and an export has their bytes', {
  skip: needsPostgres().skip || needsPython().skip,
}, async (t) => {
  const dir = tempDir(t);
  const server = await startPostgres({ dir: tempDir(t) });
  t.after(() => server.stop());
  const env = { URL: server.url() };
  await (await PostgresLedgers.open(SETTINGS, { env, origin: 'outside' })).close();
  const postgres = await openPostgres(SETTINGS, { env });
  t.after(() => postgres.close());

  const folders = [join(dir, 'honest'), join(dir, 'segments')];
  await writeLedger(join(dir, 'honest'), honestDrafts());
  await writeSegments(join(dir, 'segments'));
  for (const [i, { alter }] of ALTERATIONS.entries()) {
    if (i % EVERY !== 0) continue;
    const folder = join(dir, `altered-${i}`);
    await writeLedger(folder, alter(honestDrafts()));
    folders.push(folder);
  }
  const exports: string[] = [];
  const verdicts = [];
  for (const [i, folder] of folders.entries()) {
    const ledgerId = i.toString(16).padStart(32, '0');
    await load(postgres, folder, ledgerId);
    const source = sourceIn(postgres, ledgerId);
    const report = await verifyLedger(source, { keys, receiptKeys });
    assert.deepEqual(report, await verifyLedger(folder, { keys, receiptKeys }), folder);
    const out = join(dir, 'exports', String(i));
    await exportLedger(source, out);
    assertSameBytes(out, folder);
    exports.push(out);
    verdicts.push(ourVerdict(report));
  }
  const pems = { host: KEYS.host.publicPem, device: KEYS.device.publicPem };
  assert.deepEqual(verifyOutside(exports, writeKeys(join(dir, 'keys'), pems)), verdicts);
  const [honest, segments, ...altered] = verdicts;
  assert.deepEqual([honest?.verdict, segments?.verdict], ['valid', 'valid']);
  assert.ok(readdirSync(exports[1] ?? '').length > 4, 'several segments');
  assert.ok(altered.every(({ verdict }) => verdict === 'altered'));
});

async function writeSegments(dir: string): Promise<void> {
  const ledger = await openLedger({ dir, origin: 'outside', signer: host, maxSegmentBytes: 1_000 });
  for (let i = 0; i < 24; i++) {
    await ledger.append({ kind: 'host.started', body: { version: `0.1.${i}` } });
  }
  await ledger.close();
}
