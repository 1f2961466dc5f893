import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyLedger } from '@zerolatency/ledger';
import { listLedgers, sourceIn } from '@zerolatency/ledger/postgres';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { openPostgres } from '@zerolatency/service/postgres';
import { generateKeyPair, verifierFromPem } from '@zerolatency/signing';
import { eventually, needsPostgres, startPostgres, tempDir } from '@zerolatency/testing';
import { openTools } from '../src/app/open-tools.ts';
import { readHostConfig } from '../src/config.ts';
import { startTestHost } from './support/host.ts';
import { eventsOf } from './support/streams.ts';

function auditIdOf(events: readonly ChatEvent[]): string | undefined {
  const { event } = events.at(-1) ?? {};
  return event?.case === 'assistantDone' ? event.value.auditId : undefined;
}

test(
  '[HOST-09] [AUD-02] a host chats on while its PostgreSQL is away, and records the turns when it is back',
  needsPostgres(),
  async (t) => {
    const dir = tempDir(t);
    const server = await startPostgres({ dir: tempDir(t) });
    t.after(() => server.stop());
    const key = generateKeyPair();
    await writeFile(join(dir, 'key.pem'), key.privatePem);
    const env = { URL: server.url() };
    const settings = {
      'ledger.engine': 'postgres',
      'ledger.key': { file: join(dir, 'key.pem') },
      postgres: { url: { env: 'URL' }, connectTimeout: '1s', statementTimeout: '1s' },
    };
    const host = await startTestHost(t, { settings, env, open: openTools });
    const client = host.client('grpc', await host.issuer.token());
    const chat = async () => auditIdOf(await eventsOf(client.chat({ start: { text: 'hello' } })));
    assert.match((await chat()) ?? '', /^[0-9a-f]{64}$/);
    await server.kill();
    assert.equal(await chat(), '');
    assert.equal(await chat(), '');
    assert.equal((await fetch(`${host.addresses.admin}/readyz`)).status, 200);
    await server.start();
    await eventually(async () => (await chat()) !== '', { everyMs: 100 });
    await host.lifecycle.shutdown({ reason: 'the test has seen enough', deadlineMs: 10_000 });
    assert.deepEqual(host.lifecycle.failures, []);
    assert.equal(existsSync(join(dir, 'ledger')), false);

    const config = { connections: 2, connectTimeoutMs: 5_000, statementTimeoutMs: 5_000 };
    const postgres = await openPostgres({ ...config, url: { env: 'URL' } }, { env });
    t.after(() => postgres.close());
    const ledgers = await listLedgers(postgres);
    assert.equal(ledgers.length, 1);
    assert.notEqual(ledgers[0]?.endedAt, null);
    const report = await verifyLedger(sourceIn(postgres, ledgers[0]?.ledgerId ?? ''), {
      keys: [verifierFromPem(key.publicPem)],
      receiptKeys: { hostKeys: [], deviceKeys: [] },
    });
    assert.equal(report.verdict, 'valid', JSON.stringify(report.firstBad));
    assert.ok((report.byKind.turn ?? 0) >= 4, 'the turns that ended meanwhile too');
    assert.equal(report.byKind['ledger.ended'], 1);
  },
);

test('[OPS-02] settings of the ledger that contradict its engine are refused', () => {
  const base = {
    'rpc.cleartext': true,
    identity: { jwksFile: 'keys.json', issuer: 'i', audience: 'a' },
  };
  const key = { file: 'key.pem' };
  const refused: [object, RegExp][] = [
    [{ key }, /ledger.dir is missing/],
    [{ key, engine: 'postgres' }, /needs the settings of postgres/],
    [{ key, engine: 'postgres', dir: 'ledger' }, /ledger.dir is for ledger.engine files/],
    [{ key, engine: 'postgres', stateFile: 'floor' }, /ledger.stateFile is for/],
  ];
  for (const [ledger, message] of refused) {
    const read = () => readHostConfig({ env: {}, flags: { ...base, ledger } });
    assert.throws(read, { id: 'config.invalid', message });
  }
});
