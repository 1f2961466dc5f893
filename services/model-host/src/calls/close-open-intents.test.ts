import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openLedger, readLedger } from '@zerolatency/ledger';
import { signerFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import { heldTool, stuckTool } from '../../test/relay/offered-tools.ts';
import { started } from '../../test/relay/started.ts';
import { contracts, type ToolWorld, type ToolWorldOptions } from '../../test/relay/tool-world.ts';
import { createCallLedger, openCalls } from '../adapters/ledger/records.ts';
import { deviceExecutor } from '../executors/device/device-executor.ts';
import { closeOpenIntents } from './close-open-intents.ts';

/** A host that dies while a call runs: its links end, and its receipt is never written. */
async function crashed(t: TestContext, options: Pick<ToolWorldOptions, 'tools'>) {
  let isDead = false;
  const world = await started(t, {
    ...options,
    // The rest of the dead host gives up soon.
    limits: { timeoutMs: 1000, graceMs: 0 },
    wrapLedger: (ledger) => ({
      ...ledger,
      conclude: (call, receipt) =>
        isDead ? new Promise<void>(() => {}) : ledger.conclude(call, receipt),
    }),
  });
  void world.run(options.tools[0]!.name, { path: '/a' });
  await eventually(() => world.device.running === 1);
  isDead = true;
  world.devices.close();
  await world.ledger.close();
  return world;
}

async function restart(world: ToolWorld, { waitMs = 2000 } = {}) {
  const signer = signerFromPem(world.key.privatePem);
  const dir = world.ledgerDir;
  const ledger = await openLedger({ dir, signer, origin: 'test/host', fsync: false });
  const open = openCalls(ledger);
  const executors = [deviceExecutor({ devices: world.host(), contracts, onResumed() {} })];
  const counts = await closeOpenIntents({
    open,
    executors,
    ledger: createCallLedger(ledger),
    signer,
    waitMs,
  });
  assert.equal(openCalls(ledger).length, 0);
  await ledger.close();
  const receipts: string[] = [];
  for await (const { record } of readLedger(dir)) {
    if (record.kind === 'call.receipt') receipts.push(JSON.stringify(record.body.receipt));
  }
  return { counts, open, receipts };
}

test('[AUD-02] a restarted host asks the device how an open call ended', async (t) => {
  const held = heldTool();
  const world = await crashed(t, { tools: [held.tool] });
  held.finish('done meanwhile');
  await eventually(() => world.device.running === 0);
  const { counts, receipts } = await restart(world);
  assert.equal(counts.done, 1);
  const { value, error } = world.verify(receipts[0]!);
  assert.equal(error, undefined);
  assert.equal(value?.receipt.outcome, 'done');
  assert.equal(value?.receipt.turnId, 'turn-1');
  assert.equal(value?.device?.outcome, 'done');
});

test('[AUD-02] a call that still runs is cancelled when its host restarts', async (t) => {
  const world = await crashed(t, { tools: [stuckTool()] });
  const { counts, receipts } = await restart(world);
  assert.equal(counts.cancelled, 1);
  assert.equal(world.verify(receipts[0]!).value?.device?.outcome, 'cancelled');
  await eventually(() => world.device.running === 0);
});

test('[AUD-02] an open call of a device that cannot be asked is unknown', async (t) => {
  const world = await crashed(t, { tools: [stuckTool()] });
  world.relay.disconnect(world.device);
  const { counts, receipts } = await restart(world, { waitMs: 50 });
  assert.equal(counts.unknown, 1);
  assert.equal(world.verify(receipts[0]!).value?.receipt.outcome, 'unknown');
});

test('an intent that names no journal is closed as unknown', async (t) => {
  const world = await started(t);
  await world.ledger.append({
    kind: 'call.intent',
    body: {
      callId: 'a'.repeat(32),
      tool: 'fs.read',
      executor: 'device',
      argumentsDigest: `sha256:${'0'.repeat(64)}`,
      argumentSalt: '5a'.repeat(16),
      tenant: 'north',
      user: 'user-1',
    },
  });
  await world.ledger.close();
  const { counts, open } = await restart(world);
  assert.equal(open.length, 1);
  assert.equal(counts.unknown, 1);
});

test('a ledger without open intents needs nothing', async (t) => {
  const world = await started(t);
  await world.run('fs.read', { path: '/a' });
  await world.ledger.close();
  const { counts } = await restart(world);
  assert.deepEqual(counts, { done: 0, failed: 0, denied: 0, cancelled: 0, unknown: 0 });
});
