import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, needsBubblewrap } from '@zerolatency/testing';
import type { ChatStream } from '../../services/cli/src/chat/session.ts';
import { runningPid } from '../../services/cli/src/installation/processes.ts';
import { addServers, configOf, editConfig } from '../e2e/effects.ts';
import { callIn, type System, startSystem } from '../e2e/system.ts';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const project = join(import.meta.dirname, '../..');
const script = join(project, 'packages/mcp/test/servers/hostile-server.ts');
const hostile = {
  name: 'hostile',
  args: [script],
  grants: { read: [join(project, 'node_modules'), script] },
  sandbox: 'required',
  limits: { callTimeoutMs: size({ short: 1_500, long: 5_000 }), maxMemoryBytes: 2 ** 29 },
} as const;
/** For the attack whose call must fail on its size, which a loaded machine takes long to read. */
const patient = {
  ...hostile,
  name: 'patient',
  limits: { ...hostile.limits, callTimeoutMs: 25_000 },
};
const options = { ...needsBubblewrap(), timeout: TIMEOUT_MS };
const ROUNDS = size({ short: 1, long: 5 });
/** The longest line, 56 MiB, several times: its bytes, text, value and canonical form, and what a collector has not freed yet. */
const MAX_GROWTH_MIB = 12 * 56;

/** Which bound ends a flood first depends on the machine; its call may have had effects. */
const ENDED = /^(FAILED tool\.(server_protocol|timeout)|UNKNOWN call\.unknown_outcome)$/;
const ANSWERED = /^DONE/;
const ATTACKS = {
  'kill-parent': ANSWERED,
  progress: ENDED,
  requests: ENDED,
  'answers-twice': ANSWERED,
  'answers-others': ANSWERED,
  'changes-tools': ENDED,
  'endless-pages': ANSWERED,
  'fills-stderr': /^(DONE|FAILED tool\.timeout)/,
  'fills-stdout': ENDED,
  'huge-line': /^FAILED tool\.result_too_large$/,
  'deep-json': ENDED,
  'closes-stdout': ENDED,
  deaf: ENDED,
  // Refused by the limits of its sandbox; V8 aborts where it needs memory for itself.
  hog: /^(DONE|FAILED tool\.|UNKNOWN)/,
  'fork-bomb': /^(DONE|FAILED tool\.|UNKNOWN)/,
} as const;

test(
  '[BRG-02] calls of other servers succeed while a server attacks its bridge',
  options,
  async (t) => {
    const system = await startSystem(t, {
      async prepare(layout) {
        await addServers(layout, [hostile, patient]);
        // A server that fails again and again would be left alone for longer and longer.
        const { servers } = await configOf(layout.device.config);
        const backoff = { minBackoff: '10ms', maxBackoff: '100ms' };
        await editConfig(layout.device.config, { servers: { ...servers, ...backoff } });
      },
    });
    const { layout } = system;
    const bridge = await runningPid(layout, 'device-bridge');
    assert.ok(bridge !== undefined);
    assert.deepEqual(await heldIn(system), { containment: 'sandbox', unpinned: true });
    const { stdout } = await system.zl('devices');
    assert.match(stdout, /^ +fs .*\(ready, sandbox\)$/m);
    assert.match(stdout, /^ +hostile .*\(ready, sandbox, unpinned\)$/m);
    const beforeMib = peakMib(bridge);
    const outcomes: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      outcomes.push(...(await outcomesDuring(system, (chat) => mountedAll(chat, bridge))));
    }
    assert.deepEqual(new Set(outcomes), new Set(['DONE']));
    assert.equal(await runningPid(layout, 'device-bridge'), bridge);
    const grownMib = peakMib(bridge) - beforeMib;
    assert.ok(grownMib < MAX_GROWTH_MIB, `${grownMib} MiB`);
    const attack = 'hostile MCP server';
    figure(t, {
      attack,
      name: 'calls of fs.read meanwhile, all done',
      value: outcomes.length,
      unit: 'calls',
    });
    figure(t, {
      attack,
      name: 'memory of the bridge grew by at most',
      value: grownMib,
      unit: 'MiB',
    });
  },
);

test(
  '[BRG-01] [BRG-02] a bridge that its own server kills is back for the next call',
  options,
  async (t) => {
    const system = await startSystem(t, {
      isSupervised: true,
      prepare: (layout) => addServers(layout, [{ ...hostile, sandbox: 'none' }]),
    });
    const { containment, unpinned } = await heldIn(system);
    assert.equal(unpinned, true);
    assert.match(containment ?? '', /^(cgroup|process group)$/);
    const shown = (await system.zl('status')).stdout;
    assert.ok(shown.includes(`hostile runs without a sandbox (${containment})`), shown);
    const attack = 'server that kills its bridge';
    const kills = size({ short: 2, long: 20 });
    let slowestMs = 0;
    for (let kill = 0; kill < kills; kill++) {
      const chat = await system.chat();
      const { outcome, errorId } = await callIn(chat, 'hostile.kill-parent', {});
      // It has effects for all the bridge knows, and ran.
      assert.deepEqual([outcome, errorId], ['UNKNOWN', 'call.unknown_outcome']);
      const killedMs = performance.now();
      const isBack = async () =>
        (await callIn(chat, 'fs.read', { path: 'welcome.txt' })).outcome === 'DONE';
      await eventually(isBack, { timeoutMs: 30_000, everyMs: 50 });
      await hostileAgain(chat);
      chat.close();
      slowestMs = Math.max(slowestMs, performance.now() - killedMs);
    }
    const restarts = (await system.log('device-bridge')).match(/"signal":"SIGKILL"/g)?.length;
    assert.equal(restarts, kills);
    figure(t, { attack, name: 'kills, each followed by calls', value: kills, unit: 'kills' });
    figure(t, { attack, name: 'slowest recovery', value: slowestMs / 1000, unit: 's' });
  },
);

/** The outcomes of calls to another server meanwhile. Both chats end before their tokens do. */
async function outcomesDuring(
  system: System,
  attack: (chat: ChatStream) => Promise<void>,
): Promise<string[]> {
  const [honest, hostile] = [await system.chat(), await system.chat()];
  let isOver = false;
  const attacked = attack(hostile).finally(() => {
    isOver = true;
  });
  const outcomes: string[] = [];
  while (!isOver) outcomes.push((await callIn(honest, 'fs.read', { path: 'welcome.txt' })).outcome);
  await attacked;
  for (const chat of [honest, hostile]) chat.close();
  return outcomes;
}

async function mountedAll(chat: ChatStream, bridge: number): Promise<void> {
  for (const [attack, ending] of Object.entries(ATTACKS)) {
    await mounted(chat, { attack, bridge, ending });
  }
}

/** Attacks until the call ends as it must: what the attack before left may end the first ones. */
async function mounted(
  chat: ChatStream,
  { attack, bridge, ending }: { attack: string; bridge: number; ending: RegExp },
): Promise<void> {
  const endings: string[] = [];
  const { name } = attack === 'huge-line' ? patient : hostile;
  const hasEnded = async () => {
    await hostileAgain(chat, name);
    const { outcome, errorId } = await callIn(chat, `${name}.${attack}`, {
      pid: `${bridge}`,
      most: '100',
    });
    endings.push(`${outcome} ${errorId}`);
    return ending.test(`${outcome} ${errorId}`);
  };
  await eventually(hasEnded, { timeoutMs: 60_000 }).catch(() => {
    assert.fail(`${attack}: ${endings.join()}`);
  });
}

function hostileAgain(chat: ChatStream, name: string = hostile.name): Promise<unknown> {
  const isDone = async () => (await callIn(chat, `${name}.fine`, {})).outcome === 'DONE';
  return eventually(isDone, { timeoutMs: 20_000, everyMs: 100 });
}

/** What `zl status` says of the hostile server. */
async function heldIn(system: System): Promise<{ containment?: string; unpinned?: boolean }> {
  const { components } = JSON.parse((await system.zl('status', '--json')).stdout);
  const { report } = components.find(({ name }: { name: string }) => name === 'device-bridge');
  const found = report.servers.find(({ name }: { name: string }) => name === 'hostile');
  return { containment: found.containment, unpinned: found.unpinned };
}

function peakMib(pid: number): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}
