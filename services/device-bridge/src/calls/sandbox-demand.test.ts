import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { CommandServer } from '@zerolatency/manifest';
import type { Behaviour } from '@zerolatency/mcp/testing';
import type { Rule } from '@zerolatency/policy';
import { eventually, needsBubblewrap, tempDir } from '@zerolatency/testing';
import { ALLOW_ALL, runRig } from '../../test/bridge-rig.ts';
import type { Answer } from '../../test/fake-host.ts';
import { fixtureSpec } from '../../test/manifests.ts';

const DEMAND: Rule = {
  id: 'effects-need-a-sandbox',
  effect: 'deny',
  tools: ['*'],
  hasEffects: true,
  inSandbox: false,
};
const BUNDLE = { schema: 'zerolatency.policy/v2', rules: [ALLOW_ALL, DEMAND] } as const;

interface Given extends Partial<Omit<CommandServer, 'env'>> {
  readonly behaviour?: Behaviour;
  readonly env?: Readonly<Record<string, string>>;
}

async function demanding(t: TestContext, { behaviour = 'well', env = {}, ...more }: Given = {}) {
  const spec = fixtureSpec(behaviour, more);
  const rig = await runRig(t, { servers: () => [spec], bundle: BUNDLE, env });
  await rig.relay.offering(`${behaviour}.echo`);
  const start = () => rig.host.start({ server: behaviour, tool: 'echo' });
  return { ...rig, spec, start };
}

function assertDenied({ status, error }: Answer): void {
  assert.deepEqual([status, error?.id], ['denied', 'policy.denied'], error?.message);
  assert.match(
    error?.message ?? '',
    /^rule effects-need-a-sandbox denies it outside a sandbox: its/,
  );
}

test(
  '[BRG-02] [POL-01] a tool with effects runs in the sandbox that its bundle demands',
  needsBubblewrap(),
  async (t) => {
    const { start } = await demanding(t);
    const { status, error } = await start().answer;
    assert.equal(status, 'done', error?.message);
  },
);

test('[BRG-02] [POL-01] where there is no bubblewrap, a demanded sandbox denies tools with effects and no others', async (t) => {
  const env = { PATH: tempDir(t) };
  const without = await demanding(t, { env });
  assertDenied(await without.start().answer);
  const [server] = without.bridge.status().servers;
  assert.ok(server?.state === 'ready' && server.containment !== 'sandbox');
  const denied = 'denied' in server ? server.denied : undefined;
  assert.deepEqual(denied, [{ tool: 'echo', ruleId: 'effects-need-a-sandbox' }]);
  const harmless = await demanding(t, { env, effects: { echo: 'none' } });
  assert.equal((await harmless.start().answer).status, 'done');
  assert.ok(!('denied' in harmless.bridge.status().servers[0]!));
});

test('[BRG-02] [POL-01] a server that its manifest runs without a sandbox does not meet the demand', async (t) => {
  const { start } = await demanding(t, { sandbox: 'none' });
  assertDenied(await start().answer);
});

test(
  '[BRG-02] [POL-01] a waiting call is decided again for the process that would run it',
  needsBubblewrap(),
  async (t) => {
    const limits = { maxConcurrentCalls: 1 };
    const { start, spec, installManifest, bridge } = await demanding(t, {
      behaviour: 'hangs-on-call',
      limits,
    });
    const runs = start();
    const waits = start();
    await eventually(() => bridge.status().journal.running === 2);
    await installManifest({ version: 2, servers: [{ ...spec, sandbox: 'none' }] });
    await eventually(() => bridge.status().servers[0]?.state === 'draining');
    runs.cancel();
    await runs.answer;
    assertDenied(await waits.answer);
  },
);
