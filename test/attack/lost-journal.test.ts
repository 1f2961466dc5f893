import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { addEffectsServer, traceOf } from '../e2e/effects.ts';
import { callTool, runTurn, type System, startSystem } from '../e2e/system.ts';
import { figure, size } from './attack.ts';

const ROUNDS = size({ short: 1, long: 10 });
const LOG = 'calls.journal';
const FILES = [LOG, 'results'];

/** What becomes of the journal while the bridge is down. */
const LOSSES: Record<string, (dir: string, saved: string) => void> = {
  'is restored from an earlier snapshot': restore,
  'loses its last record': (dir) => {
    const path = join(dir, LOG);
    truncateSync(path, readFileSync(path).length - 1);
  },
  'is overwritten': (dir) => writeFileSync(join(dir, LOG), 'x'.repeat(20_000)),
  'is deleted': (dir) => {
    for (const name of FILES) rmSync(join(dir, name), { recursive: true, force: true });
  },
};

function restore(to: string, from: string): void {
  for (const name of FILES) {
    rmSync(join(to, name), { recursive: true, force: true });
    if (existsSync(join(from, name))) cpSync(join(from, name), join(to, name), { recursive: true });
  }
}

test('[BRG-01] a journal that lost what it had synced runs no call twice', async (t) => {
  const system = await startSystem(t, { prepare: addEffectsServer });
  const { state } = system.layout.device;
  await callTool(system, 'fs.read', { path: 'welcome.txt' });
  let calls = 0;
  let begun = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const [what, lose] of Object.entries(LOSSES)) {
      const key = `round${round}.${calls++}`;
      const saved = join(system.layout.home, 'snapshot');
      copyFiles(state, saved);
      const { outcome, began } = await interrupted(system, key, () => lose(state, saved));
      assert.deepEqual([began, outcome], [1, 'UNKNOWN'], `the journal ${what}`);
      begun += began;
      const read = await callTool(system, 'fs.read', { path: 'welcome.txt' });
      assert.equal(read.outcome, 'DONE', `after the journal ${what}`);
    }
  }
  const attack = { attack: 'lost journal' };
  figure(t, { ...attack, name: 'calls with effects, all unknown', value: calls, unit: 'calls' });
  figure(t, { ...attack, name: 'times they began', value: begun, unit: 'times' });
});

test('[BRG-01] a bridge whose journal is deleted while it runs is restarted, and its calls end truthfully', async (t) => {
  const system = await startSystem(t, { prepare: addEffectsServer, isSupervised: true });
  const { layout } = system;
  let slowestMs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const [cut, next] = [`cut${round}`, `next${round}`];
    const { turn } = await begunCall(system, cut);
    for (const name of FILES) {
      rmSync(join(layout.device.state, name), { recursive: true, force: true });
    }
    const deletedMs = performance.now();
    const [call] = (await turn).calls;
    assert.deepEqual([call?.outcome, call?.errorId], ['UNKNOWN', 'call.unknown_outcome']);
    await system.healthy();
    const args = { key: next, waitMs: '0', size: '1' };
    const { outcome } = await callTool(system, 'effects.act', args);
    slowestMs = Math.max(slowestMs, performance.now() - deletedMs);
    assert.equal(outcome, 'DONE');
    assert.equal(timesBegun(system, cut), 1);
    assert.deepEqual(traceOf(layout, next), ['began', 'ended']);
  }
  const ends = (await system.log('device-bridge')).match(/was deleted or replaced while/g);
  assert.ok((ends ?? []).length >= ROUNDS);
  const attack = { attack: 'journal deleted while the bridge runs' };
  figure(t, { ...attack, name: 'slowest recovery', value: slowestMs / 1000, unit: 's' });
});

/** A call that runs until it is released. */
async function begunCall(system: System, key: string) {
  const session = await system.chat();
  const args = { key, waitMs: 'released', size: '10' };
  const turn = runTurn(session, `call effects.act ${JSON.stringify(args)}`);
  await eventually(() => traceOf(system.layout, key).includes('began'), { timeoutMs: 20_000 });
  return { session, turn };
}

function copyFiles(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to);
  restore(to, from);
}

/** A call that runs when its bridge is killed and the journal loses it. */
async function interrupted(system: System, key: string, lose: () => void) {
  const { session, turn } = await begunCall(system, key);
  await system.kill('device-bridge');
  lose();
  await system.start('device-bridge');
  const { calls } = await turn;
  session.close();
  await system.healthy();
  return { outcome: calls[0]?.outcome, began: timesBegun(system, key) };
}

function timesBegun({ layout }: System, key: string): number {
  return traceOf(layout, key).filter((step) => step === 'began').length;
}
