import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import { SERVICES } from '../../services/cli/src/installation/processes.ts';
import { fakeTerminal } from '../../services/cli/test/fake-terminal.ts';
import { type Ran, runZl } from '../../services/cli/test/installed.ts';
import { addEffectsServer, release, signBundleWith, traceOf } from './effects.ts';
import { runTurn, type System, startSystem } from './system.ts';

/** A folder that policy closes, and a link that leads into it. */
async function closeSalaries(layout: Layout): Promise<void> {
  const { files } = layout.device;
  mkdirSync(join(files, 'salaries'));
  writeFileSync(join(files, 'salaries', 'june.txt'), '1');
  symlinkSync(join(files, 'salaries'), join(files, 'pub'));
  const paths = { argument: 'path', within: [join(files, 'salaries')] };
  await signBundleWith(layout, layout.policy.bundle, (bundle) => ({
    ...bundle,
    version: bundle.version + 1,
    rules: [...bundle.rules, { id: 'no-salaries', effect: 'deny', tools: ['fs.read'], paths }],
  }));
}

/** In this process, because starting one for each command takes most of the time. */
function zl({ layout }: System, ...args: readonly string[]): Promise<Ran> {
  return runZl(fakeTerminal(), ['--home', layout.home, ...args]);
}

/** What `zl why last` prints, which must hold each of these. */
async function explained(system: System, ...expected: readonly RegExp[]): Promise<string> {
  const { status, stdout, stderr } = await zl(system, 'why', 'last');
  assert.deepEqual([status, stderr], [0, '']);
  for (const pattern of expected) assert.match(stdout, pattern);
  return stdout;
}

test('why', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, {
    services: SERVICES,
    async prepare(layout) {
      await addEffectsServer(layout);
      await closeSalaries(layout);
    },
  });
  const { layout } = system;
  const read = (path: string) => zl(system, 'call', 'fs.read', JSON.stringify({ path }));
  /** A call of the tool with effects that has begun, and waits until it is released. */
  const acting = async (key: string) => {
    const args = JSON.stringify({ key, waitMs: 'released', size: '1' });
    const ended = zl(system, 'call', 'effects.act', args);
    await eventually(() => traceOf(layout, key).includes('began'), { timeoutMs: 20_000 });
    return { ended };
  };

  await t.test('[CLI-02] a call that went well: rule, hops and receipt', async () => {
    const { stdout } = await read('welcome.txt');
    const [, turnId = ''] = /, turn ([0-9a-f]{32})/.exec(stdout) ?? [];
    const said = await explained(
      system,
      new RegExp(`^turn ${turnId} done\n`),
      /\ncall [0-9a-f]{32} fs\.read done\n/,
      /decision {2}allowed on the host by local@\d+, rule developers-read-files\n/,
      /ran on {4}device this-machine\n/,
      /time .*network: host, relay, device and back +[\d.]+ ms\n/,
      /time .*MCP server +[\d.]+ ms\n/,
      /receipt {3}signed by host and device, verified\n/,
      /\nlog\n(.*\n)*.*model-host .*call ended/,
    );
    assert.doesNotMatch(said, /\nnow\n/);
    const [, callId = ''] = /\ncall ([0-9a-f]{32})/.exec(said) ?? [];
    for (const id of [turnId, turnId.slice(0, 12), callId, callId.slice(0, 12)]) {
      assert.equal((await zl(system, 'why', id)).stdout, said);
    }
    const { turn, calls } = JSON.parse((await zl(system, 'why', '--json')).stdout);
    assert.deepEqual([turn.turnId, calls[0].callId, calls[0].outcome], [turnId, callId, 'done']);
  });

  await t.test(
    '[CLI-02] [POL-06] a call that policy denies, on the host and on the device',
    async () => {
      await read('salaries/june.txt');
      await explained(
        system,
        /fs\.read denied\n/,
        /decision {2}denied on the host by local@\d+: rule no-salaries denies it\n/,
        /error {5}policy\.denied: /,
        /receipt {3}signed by the host, verified\n/,
      );
      await read('pub/june.txt');
      await explained(
        system,
        /fs\.read denied\n/,
        /decision {2}allowed on the host by .*; denied on the device\n/,
        /error {5}policy\.denied: .*no-salaries/,
        /receipt {3}signed by host and device, verified\n/,
      );
    },
  );

  await t.test('[CLI-02] a call that is invalid, and one that its tool fails', async () => {
    await zl(system, 'call', 'fs.read', '{"path":"a","more":1}');
    await explained(system, /fs\.read failed\n/, /error {5}tool\.arguments_invalid: /);
    await read('missing.txt');
    await explained(system, /fs\.read failed\n/, /error {5}fs\.not_found: .*\n +\S/);
  });

  await t.test('[CLI-02] a turn that fails or is cancelled', async () => {
    await zl(system, 'chat', '--model', 'none-such', 'hello');
    await explained(system, /^request refused by the host/, /error {5}\S+: .*none-such/);
    await zl(system, 'call', 'fs.read', '{}', '--device', 'ghost');
    await explained(system, /^turn [0-9a-f]{32} failed\n/, /error {5}device\.(unknown|offline): /);
    const session = await system.chat();
    const { ending } = await runTurn(session, 'talk', ({ event }) => {
      if (event.case === 'assistantDelta') session.cancel();
    });
    assert.equal(ending, 'turn.cancelled');
    await explained(system, /^turn [0-9a-f]{32} cancelled\n/, /error {5}turn\.cancelled/);
  });

  await t.test('[CLI-02] a bridge that dies in a call, and one that is away', async () => {
    const { ended } = await acting('lost');
    await system.kill('device-bridge');
    await system.start('device-bridge');
    assert.equal((await ended).status, 1);
    await explained(
      system,
      /effects\.act unknown\n/,
      /error {5}call\.unknown_outcome: /,
      /\nlog\n(.*\n)*.*tool-relay .*device gone/,
    );
    await system.healthy();
    await system.kill('device-bridge');
    await read('welcome.txt');
    await explained(system, /error {5}device\.offline: /, /\nnow\n {2}device-bridge is down: /);
  });

  await t.test(
    '[CLI-02] a chat whose bridge is away goes on without tools and says so',
    async () => {
      const terminal = fakeTerminal({ input: ['hello', 'call fs.read {}'] });
      const { status, stdout, stderr } = await runZl(terminal, ['--home', layout.home, 'chat']);
      assert.equal(status, 0, stderr);
      const warnings = stderr.match(
        /^zl: device\.offline: .* this answer is without tools\. .*$/gm,
      );
      assert.equal(warnings?.length, 2, stderr);
      assert.match(stdout, /done|turn [0-9a-f]{32}/);
      const named = await zl(system, 'chat', '--device', 'this-machine', 'hello');
      assert.equal(named.status, 1);
      assert.match(named.stderr + named.stdout, /device\.offline/);
      await system.start('device-bridge');
      await system.healthy();
    },
  );

  await t.test('[CLI-02] a relay that is away', async () => {
    await system.kill('tool-relay');
    await read('welcome.txt');
    await explained(system, /error {5}(relay|device)\.\w+: /, /\n {2}tool-relay is down: /);
    await system.start('tool-relay');
    await system.healthy();
  });

  await t.test('[CLI-02] a request without an identity becomes no turn', async () => {
    const settings = JSON.parse(await readFile(layout.settings, 'utf8'));
    const tokenFile = join(layout.home, 'token');
    await writeFile(tokenFile, 'not.a.token');
    const others = { ...settings, identity: { tokenFile, tenant: 'local' } };
    await writeFile(layout.settings, JSON.stringify(others));
    assert.equal((await read('welcome.txt')).status, 1);
    await explained(system, /^request refused by the host/, /error {5}identity\.invalid: /);
    await writeFile(layout.settings, JSON.stringify(settings));
  });

  await t.test('[CLI-02] a host that dies in a call, with everything down', async () => {
    const { ended } = await acting('orphan');
    await system.kill('model-host');
    assert.equal((await ended).status, 3);
    await system.kill('tool-relay');
    release(layout, 'orphan');
    await system.stop('device-bridge');
    await explained(
      system,
      /^turn [0-9a-f]{32} has no end\n/,
      /effects\.act has no outcome\n/,
      /receipt {3}none yet: /,
      /\nnow\n {2}model-host is down: .*\n {2}tool-relay is down: .*\n {2}device-bridge is down: /,
    );
  });

  await t.test('[CLI-02] [AUD-01] a ledger that is corrupt records no turn', async () => {
    const [segment = ''] = readdirSync(layout.host.ledger).filter((it) =>
      it.startsWith('segment-'),
    );
    const path = join(layout.host.ledger, segment);
    truncateSync(path, Math.floor(statSync(path).size / 2));
    for (const service of ['tool-relay', 'model-host', 'device-bridge'] as const) {
      await system.start(service);
    }
    await eventually(async () => (await read('welcome.txt')).stdout.includes('✗ fs.read failed'), {
      timeoutMs: 30_000,
    });
    await explained(
      system,
      /record {4}none in the ledger\n/,
      /error {5}ledger\.corrupt: /,
      /receipt {3}none: the ledger took no record of the call\n/,
      /\nnow\n(.*\n)*.*ledger/,
    );
  });

  await t.test('[CLI-02] an id that nothing has, and one that is none', async () => {
    const none = await zl(system, 'why', 'f00df00df00d');
    assert.equal(none.status, 1);
    assert.match(none.stdout, /^neither a turn nor a call f00df00df00d is in the ledger/);
    assert.match((await zl(system, 'why', 'last turn')).stderr, /is not the id of a turn/);
    await rm(layout.logs, { recursive: true });
    await rm(layout.host.ledger, { recursive: true });
    assert.match((await zl(system, 'why')).stdout, /^no turn is in the ledger/);
  });
});
