import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { addEffectsServer, configOf, editConfig, release, traceOf } from './effects.ts';
import { callTool, type System, startSystem } from './system.ts';

test('results of many megabytes', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, {
    async prepare(layout) {
      await addEffectsServer(layout);
      const { tools } = await configOf(layout.host.config);
      await editConfig(layout.host.config, { tools: { ...tools, maxResult: '16MiB' } });
    },
  });
  const { layout } = system;
  const act = (key: string, waitMs: string, size: number) =>
    callTool(system, 'effects.act', { key, waitMs, size: `${size}` });
  const pid = await serverPid(system);

  await t.test('[HOST-07] [BRG-02] a result of 10 MB passes where 16 MiB are allowed', async () => {
    const { outcome, errorMessage, resultJson } = await act('passes', '0', 10_000_000);
    assert.equal(outcome, 'DONE', errorMessage);
    assert.equal(JSON.parse(resultJson).content[0].text, 'passes'.padEnd(10_000_000, '.'));
  });

  await t.test('[BRG-02] a result of 20 MB ends its call only', async () => {
    const other = act('beside', 'released', 1_000);
    await eventually(() => traceOf(layout, 'beside').includes('began'));
    const { outcome, errorId, errorMessage } = await act('large', '0', 20_000_000);
    assert.deepEqual([outcome, errorId], ['FAILED', 'tool.result_too_large']);
    assert.match(errorMessage, / 16777216 are allowed by calls\.maxResult of the bridge/);
    release(layout, 'beside');
    assert.equal((await other).outcome, 'DONE');
    assert.equal(await serverPid(system), pid);
  });
});

async function serverPid(system: System): Promise<number> {
  const { components } = JSON.parse((await system.zl('status', '--json')).stdout);
  const { report } = components.find(({ name }: { name: string }) => name === 'device-bridge');
  return report.servers.find(({ name }: { name: string }) => name === 'effects').pid;
}
