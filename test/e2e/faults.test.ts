import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { eventually, faultProxy } from '@zerolatency/testing';
import { parse, stringify } from 'yaml';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import { needsPython, verifyOutside } from '../outside/second-verifier.ts';
import { addEffectsServer, traceOf } from './effects.ts';
import { runTurn, type System, startSystem } from './system.ts';

type Cutter = Awaited<ReturnType<typeof faultProxy>>;

/** Puts a proxy between bridge and relay that can cut the connection. */
async function behindProxy(t: TestContext, layout: Layout): Promise<Cutter> {
  const config = parse(await readFile(layout.device.config, 'utf8'));
  const url = new URL(config.relay.urls[0]);
  const proxy = await faultProxy({ target: { port: Number(url.port) } });
  t.after(() => proxy.close());
  url.port = String(proxy.port);
  await writeFile(
    layout.device.config,
    stringify({ ...config, relay: { ...config.relay, urls: [url.href] } }),
  );
  return proxy;
}

async function assertLedgerHolds(system: System): Promise<void> {
  const { status, stdout } = await system.zl('audit', 'verify', '--json');
  assert.equal(status, 0, stdout);
  assert.equal(JSON.parse(stdout).openIntents, 0);
  if (needsPython().skip) return;
  const { host, receiptKeys } = system.layout;
  const [verdict] = verifyOutside([host.ledger], receiptKeys);
  assert.equal(verdict?.verdict, 'valid', JSON.stringify(verdict));
}

/** Runs the turn and causes the failure once the tool has begun to act. */
async function turnWithHarm(system: System, key: string, harm: () => Promise<unknown>) {
  const session = await system.chat();
  const turn = runTurn(session, `act ${key} 2000 300000`).catch((reason: unknown) => reason);
  await eventually(() => traceOf(system.layout, key).includes('began'), { timeoutMs: 10_000 });
  await harm();
  return await turn;
}

function outcomesOf(turn: unknown): string[] {
  assert.ok(typeof turn === 'object' && turn !== null && 'calls' in turn, String(turn));
  return (turn as { calls: { outcome: string }[] }).calls.map(({ outcome }) => outcome);
}

test('failures in the middle of a call', { timeout: 300_000 }, async (t) => {
  let proxy: Cutter | undefined;
  const system = await startSystem(t, {
    async prepare(layout) {
      await addEffectsServer(layout);
      proxy = await behindProxy(t, layout);
    },
  });
  const { layout } = system;

  await t.test(
    '[RLY-05] [BRG-01] a connection that is cut and restored loses nothing and repeats nothing',
    async () => {
      const turn = await turnWithHarm(system, 'cut', async () => proxy?.cut());
      assert.deepEqual(outcomesOf(turn), ['DONE']);
      assert.deepEqual(traceOf(layout, 'cut'), ['began', 'ended']);
    },
  );

  await t.test(
    '[RLY-05] [RLY-04] a relay killed and started again loses nothing and repeats nothing',
    async () => {
      const turn = await turnWithHarm(system, 'relay', async () => {
        await system.kill('tool-relay');
        await system.start('tool-relay');
      });
      assert.deepEqual(outcomesOf(turn), ['DONE']);
      assert.deepEqual(traceOf(layout, 'relay'), ['began', 'ended']);
      await system.healthy();
    },
  );

  await t.test(
    '[RLY-05] a bridge killed during a call reports unknown after its restart and repeats nothing',
    async () => {
      const turn = await turnWithHarm(system, 'bridge', async () => {
        await system.kill('device-bridge');
        await system.start('device-bridge');
      });
      assert.deepEqual(outcomesOf(turn), ['UNKNOWN']);
      assert.deepEqual(
        traceOf(layout, 'bridge').filter((what) => what === 'began'),
        ['began'],
      );
      await system.healthy();
    },
  );

  await t.test(
    '[AUD-02] [RLY-05] a host killed during a call closes it after its restart',
    async () => {
      await turnWithHarm(system, 'host', () => system.kill('model-host'));
      await system.start('model-host');
      await system.healthy();
      await assertLedgerHolds(system);
      assert.deepEqual(
        traceOf(layout, 'host').filter((what) => what === 'began'),
        ['began'],
      );
    },
  );

  await t.test('[HOST-10] a host asked to stop finishes its turn first', async () => {
    const stopped: Promise<string>[] = [];
    const turn = await turnWithHarm(system, 'drain', async () => {
      stopped.push(system.stop('model-host'));
    });
    assert.deepEqual(outcomesOf(turn), ['DONE']);
    assert.deepEqual(await Promise.all(stopped), ['stopped']);
    await system.start('model-host');
    await system.healthy();
  });

  await t.test('[AUD-01] afterwards the ledger verifies and no call is left open', async () => {
    await assertLedgerHolds(system);
  });
});
