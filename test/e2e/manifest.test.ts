import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type Manifest, SERVER_MANIFEST } from '@zerolatency/manifest';
import { generateKeyPair, signDocument, signerFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import { writePublic } from '../../services/cli/src/installation/private-file.ts';
import { probeControlSocket } from '../../services/cli/src/status/probe.ts';
import {
  addEffectsServer,
  addServers,
  effectsServer,
  release,
  signManifestWith,
  traceOf,
} from './effects.ts';
import { commandLine, processesOf } from './installed-processes.ts';
import { type LogLine, logged, logMark } from './logs.ts';
import { callTool, runTurn, type System, startSystem } from './system.ts';

interface Told {
  readonly manifest: { readonly manifestId: string };
  readonly servers: readonly { readonly name: string; readonly pid?: number }[];
  readonly leaving: readonly string[];
}

/** What `zl status` shows of the bridge. */
async function toldBy({ settings }: System): Promise<Told> {
  const address = settings.bridge.controlSocket;
  const { report } = await probeControlSocket({ name: 'device-bridge', address });
  assert.ok(report !== undefined);
  // Other tests check the format of the report.
  return report as unknown as Told;
}

const pidOf = ({ servers }: Told, server: string) =>
  servers.find(({ name }) => name === server)?.pid;

const act = (key: string, waitMs = '0') => ({ key, waitMs, size: '10' });

/** Runs a call during other work and returns its end. */
async function duringCall(system: System, tool: string, run: () => Promise<unknown>) {
  const key = `during-${tool}`;
  const session = await system.chat();
  const turn = runTurn(session, `call ${tool} ${JSON.stringify(act(key, 'released'))}`);
  await eventually(() => traceOf(system.layout, key).includes('began'), { timeoutMs: 10_000 });
  await run();
  release(system.layout, key);
  const { calls } = await turn;
  assert.deepEqual(traceOf(system.layout, key), ['began', 'release', 'ended']);
  return calls[0];
}

/** The one line that the bridge logs about a manifest during some work. */
async function sayingOf(system: System, run: () => Promise<unknown>): Promise<LogLine> {
  const mark = await logMark(system, 'device-bridge');
  await run();
  const fits = ({ msg }: LogLine) => `${msg}`.startsWith('server manifest ');
  return await logged(system, 'device-bridge', { fits, mark });
}

test('a server manifest that changes in a running system', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, { prepare: addEffectsServer });
  const { layout } = system;
  const first = await toldBy(system);
  const { servers } = manifestIn(await readFile(layout.device.manifest, 'utf8'));
  const withLater = () => addServers(layout, [effectsServer(layout, 'later')]);
  const withoutLater = () =>
    signManifestWith(layout, ({ version, servers, ...manifest }) => ({
      ...manifest,
      version: version + 1,
      servers: servers.filter(({ name }) => name !== 'later'),
    }));

  await t.test(
    '[BRG-02] [TOOL-03] an added server can be called without a restart, and a call running elsewhere runs once',
    async () => {
      const call = await duringCall(system, 'effects.act', async () => {
        const { msg, version } = await sayingOf(system, withLater);
        assert.deepEqual([msg, version], ['server manifest installed', 3]);
        const added = await eventually(
          async () => {
            const call = await callTool(system, 'later.act', act('added'));
            return call.outcome === 'DONE' ? call : undefined;
          },
          { timeoutMs: 10_000, everyMs: 50 },
        );
        assert.match(added.resultJson, /added/);
      });
      assert.equal(call?.outcome, 'DONE');
      assert.deepEqual(traceOf(layout, 'added'), ['began', 'ended']);
      const now = await toldBy(system);
      assert.equal(now.manifest.manifestId, 'local@3');
      for (const server of ['fs', 'effects'])
        assert.equal(pidOf(now, server), pidOf(first, server));
    },
  );

  await t.test(
    '[BRG-02] a dropped server finishes its call, takes no other and leaves no process',
    async () => {
      const pid = pidOf(await toldBy(system), 'later');
      const call = await duringCall(system, 'later.act', async () => {
        await sayingOf(system, withoutLater);
        assert.deepEqual((await toldBy(system)).leaving, ['later']);
        const { outcome, errorId } = await callTool(system, 'later.act', act('dropped'));
        assert.deepEqual([outcome, errorId], ['FAILED', 'tool.unknown']);
      });
      assert.equal(call?.outcome, 'DONE');
      assert.deepEqual(traceOf(layout, 'dropped'), []);
      await eventually(async () => (await toldBy(system)).leaving.length === 0);
      assert.ok(pid !== undefined && commandLine(pid) === '');
    },
  );

  await t.test(
    '[BRG-02] an unsigned, foreign or older manifest is refused, and the previous one stays',
    async () => {
      const own = signerFromPem(await readFile(layout.manifestKey, 'utf8'));
      const foreign = signerFromPem(generateKeyPair().privatePem);
      const text = await readFile(layout.device.manifest, 'utf8');
      const manifest = manifestIn(text);
      const evil = { ...manifest, servers: [] };
      const refused: readonly (readonly [string, string])[] = [
        ['signed by 0 known keys', JSON.stringify({ ...JSON.parse(text), signatures: [] })],
        [
          'its version 3 is older than 4',
          await signDocument(SERVER_MANIFEST, { ...evil, version: 3 }, [own]),
        ],
        [
          'signed by 0 known keys',
          await signDocument(SERVER_MANIFEST, { ...evil, version: 9 }, [foreign]),
        ],
        ['it differs from the version 4', await signDocument(SERVER_MANIFEST, evil, [own])],
      ];
      const before = await toldBy(system);
      for (const [why, envelope] of refused) {
        const {
          msg,
          error_id: errorId,
          help,
        } = await sayingOf(system, () => writePublic(layout.device.manifest, envelope));
        assert.ok(`${msg}`.startsWith(`server manifest refused: ${why}`), `${msg}`);
        assert.equal(errorId, 'manifest.invalid');
        assert.match(`${help}`, /Sign it again/);
        const { manifest: now, ...rest } = await toldBy(system);
        const { manifest: held, ...others } = before;
        assert.deepEqual(rest, others);
        assert.deepEqual(now, { ...held, why: msg });
      }
      const { outcome } = await callTool(system, 'effects.act', act('refused'));
      assert.equal(outcome, 'DONE');
    },
  );

  await t.test(
    '[BRG-02] after a restart a refused manifest starts nothing and a valid one starts everything',
    async () => {
      await system.stop('device-bridge');
      await system.start('device-bridge');
      const saysWhy = async () => (await system.zl('status')).stdout.includes('manifest is none');
      await eventually(saysWhy, { timeoutMs: 20_000, everyMs: 50 });
      assert.deepEqual((await toldBy(system)).servers, []);
      await signManifestWith(layout, (manifest) => ({ ...manifest, version: 5, servers }));
      await system.healthy();
      // Three services and two servers.
      assert.equal(processesOf(layout.home).length, 5);
      assert.equal((await callTool(system, 'effects.act', act('restarted'))).outcome, 'DONE');
    },
  );
});

function manifestIn(envelope: string): Manifest {
  const { payload } = JSON.parse(envelope);
  return JSON.parse(Buffer.from(payload, 'base64').toString('utf8'));
}
