import assert from 'node:assert/strict';
import { appendFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeRecord, readLedger } from '@zerolatency/ledger';
import { eventually } from '@zerolatency/testing';
import { runTurn, type System, startSystem } from '../e2e/system.ts';
import { figure, TIMEOUT_MS } from './attack.ts';

const ATTACK = 'altered ledger';

async function segmentOf(dir: string): Promise<string> {
  const names = (await readdir(dir)).filter((name) => name.startsWith('segment-'));
  return join(dir, names.sort().at(-1)!);
}

interface Attacked {
  readonly ledger: string;
  /** A copy of an earlier day. */
  readonly older: string;
}

const ATTACKS: Readonly<Record<string, (attacked: Attacked) => Promise<void>>> = {
  'its tail cut and its checkpoint deleted': async ({ ledger }) => {
    const segment = await segmentOf(ledger);
    const lines = (await readFile(segment, 'utf8')).split('\n');
    await writeFile(segment, `${lines.slice(0, -4).join('\n')}\n`);
    await rm(join(ledger, 'checkpoint'));
  },
  'a forged record appended': async ({ ledger }) => {
    let index = 0;
    let prev = '';
    for await (const { record, leafHash } of readLedger(ledger)) {
      index = record.index + 1;
      prev = leafHash;
    }
    const at = new Date().toISOString();
    const body = { version: '0.1.0', reason: 'forged' };
    const forged = { v: 2, index, at, prev, synced: index, kind: 'host.stopped', body } as const;
    await appendFile(await segmentOf(ledger), encodeRecord(forged).line);
  },
  'its folder deleted': ({ ledger }) => rm(ledger, { recursive: true }),
  'an older segment and checkpoint put back': async ({ ledger, older }) => {
    await rm(ledger, { recursive: true });
    await cp(older, ledger, { recursive: true });
  },
};

async function contentsOf(dir: string): Promise<Record<string, string>> {
  const names = (await readdir(dir)).filter((name) => /^segment-|^checkpoint$/.test(name));
  const read = names.map(async (name) => [name, await readFile(join(dir, name), 'utf8')] as const);
  return Object.fromEntries(await Promise.all(read));
}

/** What readiness, the component report and `zl status` say of the host. */
async function sayingsOf(system: System) {
  const read = async (path: string) =>
    JSON.parse(await (await fetch(system.settings.host.adminUrl + path)).text());
  await eventually(() => read('/livez').catch(() => undefined), { timeoutMs: 60_000 });
  await eventually(async () => (await read('/readyz')).reasons.join() !== 'state is starting');
  const { components } = await read('/health');
  return {
    readiness: (await read('/readyz')).reasons.join(),
    component: components.find(({ name }: { name: string }) => name === 'ledger'),
    status: (await system.zl('status')).stdout,
  };
}

async function turnOf(system: System, text: string) {
  const session = await system.chat();
  const turn = await runTurn(session, text);
  session.close();
  return turn;
}

test('[AUD-01] a host whose ledger was altered while it was stopped serves no tools, and says what to do', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const system = await startSystem(t);
  const ledger = system.layout.host.ledger;
  const older = `${ledger}.older`;
  const whole = `${ledger}.whole`;
  const callOnce = async () => {
    const { calls } = await turnOf(system, 'read welcome.txt');
    assert.deepEqual(
      calls.map(({ outcome }) => outcome),
      ['DONE'],
    );
  };
  await callOnce();
  await system.stop('model-host');
  await cp(ledger, older, { recursive: true });
  await system.start('model-host');
  await system.healthy();
  await callOnce();
  await system.stop('model-host');
  await cp(ledger, whole, { recursive: true });

  for (const [change, attack] of Object.entries(ATTACKS)) {
    await attack({ ledger, older });
    await mkdir(ledger, { recursive: true });
    const altered = await contentsOf(ledger);
    await system.start('model-host');
    const { readiness, component, status } = await sayingsOf(system);
    assert.match(readiness, /the ledger is corrupt: /, change);
    assert.equal(component.status, 'down', change);
    assert.equal(component.error.id, 'ledger.corrupt', change);
    assert.match(status, /ledger is down: .*\n +Restore the ledger's folder/, change);
    const chat = await turnOf(system, 'hello');
    assert.deepEqual([chat.ending, chat.calls], ['done', []], change);
    const { calls } = await turnOf(system, 'read welcome.txt');
    assert.deepEqual(
      calls.map(({ outcome, errorId, resultJson }) => [outcome, errorId, resultJson]),
      [['FAILED', 'ledger.corrupt', '']],
      change,
    );
    await system.stop('model-host');
    assert.deepEqual(await contentsOf(ledger), altered, change);
    await rm(ledger, { recursive: true });
    await cp(whole, ledger, { recursive: true });
  }

  await system.start('model-host');
  await system.healthy();
  await callOnce();
  await system.stop('model-host');
  const { status, stdout, stderr } = await system.zl('audit', 'verify');
  assert.equal(status, 0, stdout + stderr);
  const value = Object.keys(ATTACKS).length;
  figure(t, { attack: ATTACK, name: 'altered ledgers refused', value, unit: 'ledgers' });
});
