import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { eventually, needsRedis } from '@zerolatency/testing';
import { LOCAL } from '../../services/cli/src/installation/local.ts';
import { podsOf, shardOf } from '../../services/tool-relay/src/sharding/shard-of.ts';
import { addEffectsServer, traceOf } from '../e2e/effects.ts';
import { RelayPeers } from '../e2e/relay-peers.ts';
import { relayPool } from '../e2e/relay-pool.ts';
import { startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { CHATS, Load, relayOfDevice, type Simulated, simulate } from './load.ts';

const WIDTH = 3;
/** The device of the installation belongs to each pod that joins, so it moves every time. */
const JOINING = [2, 0, 1];
const DEVICES = size({ short: 60, long: 600 });
const OUTCOMES_WAIT_MS = 120_000;

const podIds = (indexes: readonly number[]) => indexes.map((index) => `relay-${index + 1}`);
const placeOf = (deviceId: string, among: readonly number[]) =>
  shardOf({ tenant: LOCAL.tenant, deviceId }, podsOf(podIds(among)), WIDTH);

test('[RLY-03] [RLY-06] pods that join under 64 calls in flight take over their devices, and no call is lost', {
  timeout: TIMEOUT_MS,
  ...needsRedis(),
}, async (t) => {
  let pool: Awaited<ReturnType<typeof relayPool>> | undefined;
  const [first = 0, ...joining] = JOINING;
  const system = await startSystem(t, {
    services: ['model-host', 'device-bridge'],
    async prepare(layout) {
      await addEffectsServer(layout);
      pool = await relayPool(t, layout, JOINING.length, { width: WIDTH, settle: '1s' });
      await pool.pods[first]?.start();
    },
  });
  const { pods = [], deviceUrls = [] } = pool ?? {};
  t.after(() => Promise.all(pods.map((pod) => pod.stop())));
  const peers = await RelayPeers.of(t, system);
  const ca = readFileSync(system.layout.authority.cert, 'utf8');
  const devices = new Map<string, Simulated>();
  t.after(() => Promise.all([...devices.values()].map(({ connection }) => connection.close())));
  for (let nth = 0; nth < DEVICES; nth++) {
    const deviceId = `device-${nth}`;
    const device = await peers.enrol({ deviceId });
    devices.set(deviceId, simulate(device, ca, [deviceUrls[first] ?? '']));
  }
  const areAt = (among: readonly number[]) =>
    [...devices].every(([deviceId, { relay }]) => {
      const pod = podIds([0, 1, 2]).indexOf(placeOf(deviceId, among) ?? '');
      return relay === deviceUrls[pod];
    });
  await eventually(() => areAt([first]), { timeoutMs: OUTCOMES_WAIT_MS });

  const load = new Load(system);
  await load.passed(CHATS);
  const there = [first];
  for (const index of joining) {
    there.push(index);
    assert.equal(placeOf(LOCAL.deviceId, there), podIds([index])[0]);
    await pods[index]?.start();
    const hasMoved = async () => (await relayOfDevice(system)) === deviceUrls[index];
    await eventually(hasMoved, { timeoutMs: OUTCOMES_WAIT_MS, everyMs: 100 });
    await eventually(() => areAt(there), { timeoutMs: OUTCOMES_WAIT_MS, everyMs: 100 });
    await load.passed(CHATS);
  }
  await load.stop();

  assert.deepEqual(load.failedTurns, []);
  assert.equal(load.calls.length, load.keys.length);
  assert.deepEqual([...new Set(load.calls.map(({ outcome }) => outcome))], ['DONE']);
  for (const key of load.keys) assert.deepEqual(traceOf(system.layout, key), ['began', 'ended']);
  const all = [...devices.values()];
  assert.equal(Math.max(...all.map(({ losses }) => losses)), 0, 'a device was without a relay');
  const moves = all.reduce((sum, { lives }) => sum + lives - 1, 0);
  assert.ok(moves >= DEVICES / 3, `${moves} moves`);
  const attack = 'scale-out';
  figure(t, { attack, name: 'calls, all done', value: load.calls.length, unit: 'calls' });
  figure(t, { attack, name: `moves of ${DEVICES} more devices`, value: moves, unit: 'moves' });
});
