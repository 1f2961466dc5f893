import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import type { ManifestServer } from '@zerolatency/manifest';
import { killGroup } from '@zerolatency/mcp';
import type { Behaviour } from '@zerolatency/mcp/testing';
import { eventually } from '@zerolatency/testing';
import { runRig } from '../../test/bridge-rig.ts';
import type { Answer } from '../../test/fake-host.ts';
import { fixtureSpec } from '../../test/manifests.ts';

const ONE_AT_ATIME = { limits: { maxConcurrentCalls: 1 } };
const HARMLESS = { effects: { echo: 'none' as const } };

async function withServer(t: TestContext, behaviour: Behaviour, more: Partial<ManifestServer>) {
  const spec = fixtureSpec(behaviour, more);
  const rig = await runRig(t, { servers: () => [spec] });
  await rig.relay.offering(`${behaviour}.echo`);
  const start = () => rig.host.start({ server: behaviour, tool: 'echo' });
  /** Resolves once the device has this many calls. */
  const running = (count: number) =>
    eventually(() => rig.bridge.status().journal.running === count);
  /** Resolves when the bridge reports it in force. */
  const follow = async (version: number, servers: readonly ManifestServer[]) => {
    await rig.installManifest({ version, servers });
    await eventually(() => {
      const { manifest } = rig.bridge.status();
      return manifest.state === 'active' && manifest.manifestId === `test@${version}`;
    });
  };
  return { ...rig, spec, start, running, follow };
}

function assertEnded(answer: Answer, status: Answer['status'], id?: string): void {
  assert.deepEqual([answer.status, answer.error?.id], [status, id], answer.error?.message);
}

test('[BRG-02] a dropped server finishes its running call, and waiting or later calls are unknown and have not run', async (t) => {
  const rig = await withServer(t, 'hangs-on-call', ONE_AT_ATIME);
  const runs = rig.start();
  await rig.running(1);
  const waits = rig.start();
  await rig.running(2);
  await rig.follow(2, []);
  assertEnded(await waits.answer, 'failed', 'tool.unknown');
  assertEnded(await rig.start().answer, 'failed', 'tool.unknown');
  const { leaving, servers, journal } = rig.bridge.status();
  assert.deepEqual([leaving, servers, journal.running], [['hangs-on-call'], [], 1]);
  await eventually(() => rig.relay.session?.catalog.servers.length === 0);
  runs.cancel();
  assertEnded(await runs.answer, 'cancelled', 'call.cancelled');
  await eventually(() => rig.bridge.status().leaving.length === 0);
  const said = await text(createConnection(join(rig.config.stateDir, 'metrics.sock')));
  // Under its own name, although the device no longer offers it.
  assert.match(said, /^zl_bridge_calls_total\{tool="hangs-on-call.echo",outcome="cancelled".* 1$/m);
});

test('[BRG-02] calls of a changed server wait until its running call has ended, and then run on its new spec', async (t) => {
  const rig = await withServer(t, 'hangs-on-call', { ...ONE_AT_ATIME, ...HARMLESS });
  const runs = rig.start();
  await rig.running(1);
  const waits = rig.start();
  await rig.running(2);
  const { args } = fixtureSpec('well');
  await rig.follow(2, [{ ...rig.spec, args }]);
  const later = rig.start();
  await rig.running(3);
  assert.deepEqual(rig.bridge.status().leaving, []);
  runs.cancel();
  assertEnded(await runs.answer, 'cancelled', 'call.cancelled');
  for (const { answer } of [waits, later]) assertEnded(await answer, 'done');
});

test('[BRG-02] calls that wait for a changed server are unknown once the manifest drops it', async (t) => {
  const rig = await withServer(t, 'hangs-on-call', { ...ONE_AT_ATIME, ...HARMLESS });
  const runs = rig.start();
  await rig.running(1);
  const waits = rig.start();
  await rig.running(2);
  await rig.follow(2, [{ ...rig.spec, args: fixtureSpec('well').args }]);
  await rig.running(2);
  await rig.follow(3, []);
  assertEnded(await waits.answer, 'failed', 'tool.unknown');
  runs.cancel();
  assertEnded(await runs.answer, 'cancelled', 'call.cancelled');
});

test('[BRG-02] a call that waits for a changed server does not begin after its deadline', async (t) => {
  const rig = await withServer(t, 'hangs-on-call', { ...ONE_AT_ATIME, ...HARMLESS });
  const runs = rig.start();
  await rig.running(1);
  await rig.follow(2, [{ ...rig.spec, args: fixtureSpec('well').args }]);
  const waits = rig.host.start({ server: 'hangs-on-call', tool: 'echo', timeoutMs: 2_000 });
  const { status, error } = await waits.answer;
  assert.deepEqual([status, error?.id], ['failed', 'tool.timeout']);
  assert.match(error?.message ?? '', /did not begin/);
  runs.cancel();
  assertEnded(await runs.answer, 'cancelled', 'call.cancelled');
});

test('[BRG-02] a call keeps the effects declared at its dispatch, and the next one uses the new ones', async (t) => {
  const rig = await withServer(t, 'hangs-on-call', HARMLESS);
  const before = rig.start();
  await rig.running(1);
  const [server] = rig.bridge.status().servers;
  await rig.follow(2, [{ ...rig.spec, effects: {} }]);
  assert.ok(server?.state === 'ready' && killGroup(server.pid!, 'SIGKILL'));
  assertEnded(await before.answer, 'failed', 'tool.server_down');
  const next = await eventually(() => {
    const [now] = rig.bridge.status().servers;
    return now?.state === 'ready' && now.pid !== server.pid ? now : undefined;
  });
  const after = rig.start();
  await rig.running(1);
  killGroup(next.pid!, 'SIGKILL');
  assertEnded(await after.answer, 'unknown', 'call.unknown_outcome');
});

test('[BRG-02] [TOOL-03] an added server is announced to the connected relay, and a running call goes on', async (t) => {
  const rig = await withServer(t, 'is-slow', HARMLESS);
  const pids = () =>
    rig.bridge.status().servers.map((server) => ('pid' in server ? server.pid : undefined));
  const [pid] = pids();
  const running = rig.start();
  await rig.running(1);
  await rig.follow(2, [rig.spec, fixtureSpec('well')]);
  assertEnded(await running.answer, 'done');
  await rig.relay.offering('is-slow.echo', 'well.echo');
  assertEnded(await rig.host.call({ server: 'well', tool: 'echo' }), 'done');
  assert.equal(pids()[0], pid);
  assert.equal(rig.relay.hellos, 1);
});
