import assert from 'node:assert/strict';
import { platform } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import type { Service } from '../../services/cli/src/installation/processes.ts';
import { addEffectsServer, addServers, editConfig, traceOf } from './effects.ts';
import { commandLine, processesOf } from './installed-processes.ts';
import { spawnService } from './own-processes.ts';
import { runTurn, startSystem, type Turn } from './system.ts';

const options = { timeout: 300_000, skip: platform() === 'linux' ? false : 'reads /proc' };
const stubborn = join(import.meta.dirname, '../../packages/mcp/test/servers/server.ts');

/** Servers that resist a stop, and deadlines too short for them. */
async function prepare(layout: Layout): Promise<void> {
  await addEffectsServer(layout);
  // An argument that identifies the installation's processes.
  const args = [stubborn, 'ignores-sigterm', layout.home];
  await addServers(layout, [{ name: 'stubborn', args }]);
  await editConfig(layout.host.config, { drain: { deadline: '1s' } });
  await editConfig(layout.device.config, { drain: { deadline: '1s' } });
}

test('a system that is asked to stop', options, async (t) => {
  const system = await startSystem(t, { prepare });
  const { layout } = system;
  const mcpServers = () =>
    processesOf(layout.home).filter((pid) => !commandLine(pid).includes('/main.mjs'));

  /** Replaces the running service by a child whose exit status is known. */
  async function replace(service: Service) {
    await system.stop(service);
    const own = spawnService(t, layout, service);
    await own.ready;
    await system.healthy();
    return own;
  }

  /** Starts a turn and resolves once its tool has begun to act. */
  async function acting(key: string, waitMs: number): Promise<{ turn: Promise<Turn> }> {
    const turn = runTurn(await system.chat(), `act ${key} ${waitMs} 10`);
    await eventually(() => traceOf(layout, key).includes('began'));
    return { turn };
  }

  await t.test(
    '[BRG-02] a bridge that is killed leaves no server behind once another has started',
    async () => {
      const before = mcpServers();
      assert.equal(before.length, 3, before.map(commandLine).join('\n'));
      await system.kill('device-bridge');
      await system.start('device-bridge');
      await system.healthy();
      await eventually(() => mcpServers().length === 3, { everyMs: 50 });
      assert.deepEqual(
        mcpServers().filter((pid) => before.includes(pid)),
        [],
      );
    },
  );

  await t.test('[RLY-05] a call outlasts a relay that stops and restarts', async () => {
    const { turn } = await acting('relay', 500);
    assert.equal(await system.stop('tool-relay'), 'stopped');
    await system.start('tool-relay');
    const [call] = (await turn).calls;
    assert.equal(call?.outcome, 'DONE', call?.errorMessage);
    assert.deepEqual(traceOf(layout, 'relay'), ['began', 'ended']);
    await system.healthy();
  });

  await t.test('[BRG-01] [TOOL-04] a bridge asked to stop lets a call finish', async () => {
    const { turn } = await acting('bridge', 300);
    const stopped = system.stop('device-bridge');
    const [call] = (await turn).calls;
    assert.equal(call?.outcome, 'DONE', call?.errorMessage);
    assert.equal(await stopped, 'stopped');
    assert.deepEqual(mcpServers(), []);
  });

  await t.test(
    '[RLY-05] [BRG-02] a bridge that cannot wait reports an unknown outcome and leaves no server',
    async () => {
      const own = await replace('device-bridge');
      const { turn } = await acting('late', 15_000);
      own.child.kill('SIGTERM');
      assert.equal(await own.ended, 0, own.said());
      assert.deepEqual(mcpServers(), []);
      await system.start('device-bridge');
      const [call] = (await turn).calls;
      assert.deepEqual([call?.outcome, call?.errorId], ['UNKNOWN', 'call.unknown_outcome']);
      await system.healthy();
    },
  );

  await t.test(
    '[HOST-10] a host that cannot wait cancels the turn, with a typed error, and its call',
    async () => {
      const own = await replace('model-host');
      const { turn } = await acting('host', 15_000);
      own.child.kill('SIGTERM');
      const { ending, calls } = await turn;
      assert.equal(ending, 'server.draining');
      assert.deepEqual(
        calls.map(({ outcome }) => outcome),
        ['CANCELLED'],
      );
      // The tool hears of it a moment after the client does.
      await eventually(() => traceOf(layout, 'host').includes('stopped'));
      assert.deepEqual(traceOf(layout, 'host'), ['began', 'stopped']);
      assert.equal(await own.ended, 0, own.said());
      await system.start('model-host');
      await system.healthy();
    },
  );

  await t.test('[AUD-01] [AUD-02] afterwards no call is left open', async () => {
    const { status, stdout } = await system.zl('audit', 'verify', '--json');
    assert.equal(status, 0, stdout);
    assert.equal(JSON.parse(stdout).openIntents, 0);
  });
});
