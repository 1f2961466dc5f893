import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLedgerIn, readLedger, verifyLedger } from '@zerolatency/ledger';
import { PostgresLedgers } from '@zerolatency/ledger/postgres';
import { Lifecycle } from '@zerolatency/service/lifecycle';
import { signerFromPem, verifierFromPem } from '@zerolatency/signing';
import { eventually, needsPostgres, startPostgres, tempDir } from '@zerolatency/testing';
import { heldTool } from '../../test/relay/offered-tools.ts';
import { started } from '../../test/relay/started.ts';
import { contracts } from '../../test/relay/tool-world.ts';
import { deviceExecutor } from '../executors/device/device-executor.ts';
import { adoptLedgers } from './open-ledger.ts';

const SETTINGS = {
  url: { env: 'URL' },
  connections: 4,
  connectTimeoutMs: 5_000,
  statementTimeoutMs: 5_000,
};
const BEAT_EVERY_MS = 200;

test(
  '[HOST-09] [AUD-02] another host asks the device how the calls of a dead one ended, and ends its ledger',
  needsPostgres(),
  async (t) => {
    const server = await startPostgres({ dir: tempDir(t) });
    t.after(() => server.stop());
    const poolOf = async (beatEveryMs: number) => {
      const env = { URL: server.url() };
      const pool = await PostgresLedgers.open(SETTINGS, { env, origin: 'test/host', beatEveryMs });
      t.after(() => pool.close());
      return pool;
    };
    const held = heldTool();
    const dead = await poolOf(1_000_000);
    let isDead = false;
    const world = await started(t, {
      tools: [held.tool],
      limits: { timeoutMs: 1_000, graceMs: 0 },
      openLedger: (writer) => openLedgerIn(dead.create(), writer),
      wrapLedger: (ledger) => ({
        ...ledger,
        conclude: (call, receipt) =>
          isDead ? new Promise<void>(() => {}) : ledger.conclude(call, receipt),
      }),
    });
    void world.run(held.tool.name, { path: '/a' });
    await eventually(() => world.device.running === 1);
    isDead = true;
    world.devices.close();
    held.finish('done meanwhile');
    await eventually(() => world.device.running === 0);

    const lifecycle = new Lifecycle();
    t.after(() => lifecycle.shutdown({ reason: 'test over', deadlineMs: 0 }));
    const ended: Record<string, unknown>[] = [];
    adoptLedgers(await poolOf(BEAT_EVERY_MS), {
      lifecycle,
      log: {
        warn: (fields: Record<string, unknown>) => void ended.push(fields),
        error: ({ err }: { err?: unknown }) => void ended.push({ err }),
      },
      own: { ledgerId: '5e'.repeat(16) },
      origin: 'test/host',
      signer: signerFromPem(world.key.privatePem),
      executors: [deviceExecutor({ devices: world.host(), contracts, onResumed() {} })],
    });
    await eventually(() => ended.length === 1);
    assert.equal(ended[0]?.ledger_id, world.ledger.ledgerId);
    const { source } = world.ledger;
    const kinds: string[] = [];
    for await (const { record } of readLedger(source)) {
      kinds.push(record.kind);
      if (record.kind !== 'call.receipt') continue;
      const { value, error } = world.verify(JSON.stringify(record.body.receipt));
      assert.equal(error, undefined);
      assert.deepEqual([value?.receipt.outcome, value?.device?.outcome], ['done', 'done']);
    }
    assert.equal(kinds.at(-1), 'ledger.ended');
    const report = await verifyLedger(source, { keys: [verifierFromPem(world.key.publicPem)] });
    assert.deepEqual([report.verdict, report.openIntents, report.unsigned], ['valid', 0, 0]);
    const late = world.ledger.append({ kind: 'host.started', body: { version: '1' } });
    await assert.rejects(late, { id: 'ledger.failed', message: /taken over/ });
  },
);
