import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { eventually, needsRedis } from '@zerolatency/testing';
import { addEffectsServer, traceOf } from '../e2e/effects.ts';
import { RelayPeers } from '../e2e/relay-peers.ts';
import { relayPool } from '../e2e/relay-pool.ts';
import { startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { CHATS, Load, relayOfDevice, type Simulated, simulate } from './load.ts';

/** Between two restarts, so that each meets calls in every state. */
const TURNS_BETWEEN = CHATS;
const DEVICES = size({ short: 200, long: 2_000 });

function report(t: TestContext, attack: string, { calls, failedTurns }: Load): void {
  const undone = calls.filter(({ outcome }) => outcome !== 'DONE');
  figure(t, { attack, name: 'calls', value: calls.length, unit: 'calls' });
  figure(t, { attack, name: 'calls that were not done', value: undone.length, unit: 'calls' });
  figure(t, { attack, name: 'turns that failed', value: failedTurns.length, unit: 'turns' });
}

test('pods of a pool that restart or die', { timeout: TIMEOUT_MS, ...needsRedis() }, async (t) => {
  let pool: Awaited<ReturnType<typeof relayPool>> | undefined;
  const system = await startSystem(t, {
    async prepare(layout) {
      await addEffectsServer(layout);
      pool = await relayPool(t, layout, 3);
      for (const pod of pool.pods.slice(1)) await pod.start();
    },
  });
  const { pods = [], deviceUrls = [] } = pool ?? {};
  t.after(() => Promise.all(pods.map((pod) => pod.stop())));

  await t.test(
    '[RLY-06] [RLY-04] a rolling restart of every pod fails no call, leaves none unknown and repeats none',
    async (t) => {
      const load = new Load(system);
      await load.passed(TURNS_BETWEEN);
      for (const pod of pods) {
        assert.equal(await pod.stop(), 'stopped');
        await pod.start();
        await load.passed(TURNS_BETWEEN);
      }
      await load.stop();
      assert.deepEqual(load.failedTurns, []);
      assert.deepEqual([...new Set(load.calls.map(({ outcome }) => outcome))], ['DONE']);
      for (const key of load.keys)
        assert.deepEqual(traceOf(system.layout, key), ['began', 'ended']);
      report(t, 'rolling restart', load);
    },
  );

  await t.test(
    '[RLY-06] [RLY-05] after kill -9 of a pod its devices return elsewhere, and each call has one outcome',
    async (t) => {
      const peers = await RelayPeers.of(t, system);
      const ca = readFileSync(system.layout.authority.cert, 'utf8');
      const devices: Simulated[] = [];
      t.after(() => Promise.all(devices.map(({ connection }) => connection.close())));
      for (let nth = 0; nth < DEVICES; nth++) {
        const first = nth % deviceUrls.length;
        const urls = [...deviceUrls.slice(first), ...deviceUrls.slice(0, first)];
        devices.push(simulate(await peers.enrol({ deviceId: `device-${nth}` }), ca, urls));
      }
      const areLive = () => devices.every(({ relay }) => relay !== undefined);
      await eventually(areLive, { timeoutMs: 120_000 });
      const load = new Load(system);
      await load.passed(TURNS_BETWEEN);
      const url = await relayOfDevice(system);
      const lost = devices.filter(({ relay }) => relay === url);
      const others = devices.filter(({ relay }) => relay !== url);
      const livesBefore = others.map(({ lives }) => lives);
      const killedMs = performance.now();
      await pods[deviceUrls.indexOf(url)]?.kill();
      const areBack = () => lost.every(({ liveAtMs }) => liveAtMs > killedMs);
      await eventually(areBack, { timeoutMs: 120_000 });
      await load.passed(TURNS_BETWEEN);
      await load.stop();
      const sortedMs = lost.map(({ liveAtMs }) => liveAtMs - killedMs).sort((a, b) => a - b);
      const at = (share: number) =>
        Math.round(sortedMs[Math.floor(share * (sortedMs.length - 1))]!);
      for (const share of [0.5, 0.99]) {
        const name = `${lost.length} devices back, p${share * 100}`;
        figure(t, { attack: 'pod kill', name, value: at(share), unit: 'ms' });
      }
      report(t, 'pod kill', load);
      assert.ok(lost.length >= DEVICES / 6, `${lost.length} devices on the killed pod`);
      assert.deepEqual(
        others.map(({ lives }) => lives),
        livesBefore,
      );
      for (const { outcome } of load.calls) assert.match(outcome, /^(DONE|FAILED|UNKNOWN)$/);
      for (const key of load.keys) {
        const began = traceOf(system.layout, key).filter((what) => what === 'began');
        assert.ok(began.length <= 1, `${key} ran ${began.length} times`);
      }
    },
  );
});
