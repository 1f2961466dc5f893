import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import { type AddedServer, addServers, editConfig } from './effects.ts';
import { callTool, runTurn, type System, startSystem } from './system.ts';

const root = join(import.meta.dirname, '../..');
const brokenServer = join(root, 'packages/mcp/test/servers/server.ts');
const GIBIBYTE = 2 ** 30;

/** The fault of each server and the error of a call to it. */
const FAULTS: Record<string, { does: string; ends: [outcome: string, errorId: string] }> = {
  exits: { does: 'exits-on-call', ends: ['FAILED', 'tool.server_down'] },
  hangs: { does: 'hangs-for-good-on-call', ends: ['FAILED', 'tool.timeout'] },
  floods: { does: 'floods-with-messages', ends: ['FAILED', 'tool.server_protocol'] },
  pours: { does: 'floods-without-newline', ends: ['FAILED', 'tool.server_protocol'] },
  babbles: { does: 'floods-with-lines', ends: ['FAILED', 'tool.server_protocol'] },
  mumbles: { does: 'answers-with-rubbish', ends: ['FAILED', 'tool.timeout'] },
};

async function addBadServers(layout: Layout): Promise<void> {
  const broken = Object.entries(FAULTS).map(([name, { does, ends }]): AddedServer => {
    const limits = { callTimeoutMs: ends[1] === 'tool.timeout' ? 1_000 : 20_000 };
    return { name, args: [brokenServer, does], effects: { echo: 'none' }, limits };
  });
  const acts: AddedServer = { name: 'vanishes', args: [brokenServer, 'exits-on-call'] };
  const lies: AddedServer = { name: 'lies', args: [brokenServer, 'miscounts'] };
  await addServers(layout, [...broken, acts, lies]);
  await addContract(layout);
}

/** A contract of lies.echo that its results do not fulfil. */
async function addContract(layout: Layout): Promise<void> {
  const contractsDir = join(layout.home, 'contracts');
  cpSync(join(root, 'contracts/tools'), contractsDir, { recursive: true });
  const dir = join(contractsDir, 'lies.echo/v1');
  mkdirSync(dir, { recursive: true });
  const $schema = 'https://json-schema.org/draft/2020-12/schema';
  const manifest = {
    ...{ name: 'lies.echo', version: '1.0.0', description: 'Says how many.' },
    ...{ effects: 'none', capabilities: [] },
  };
  const count = { type: 'integer' };
  const files = {
    'manifest.json': manifest,
    'args.schema.json': { $schema, type: 'object', additionalProperties: false },
    'result.schema.json': {
      ...{ $schema, type: 'object', required: ['count'], properties: { count } },
    },
  };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(dir, name), JSON.stringify(content));
  }
  await editConfig(layout.host.config, { tools: { contractsDir } });
}

test('bad servers and bad files', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t, { prepare: addBadServers });
  const { files } = system.layout.device;

  for (const [name, { does, ends }] of Object.entries(FAULTS)) {
    await t.test(
      `[BRG-02] a server that ${does} ends its call with ${ends[1]}, and others go on`,
      async () => {
        const [bad, good] = await Promise.all([
          callTool(system, `${name}.echo`, {}),
          callTool(system, 'fs.read', { path: 'welcome.txt' }),
        ]);
        assert.deepEqual([bad.outcome, bad.errorId], ends);
        assert.equal(good.outcome, 'DONE');
      },
    );
  }

  await t.test(
    '[RLY-05] a server that dies with effects under way leaves the outcome unknown',
    async () => {
      const call = await callTool(system, 'vanishes.echo', {});
      assert.deepEqual([call.outcome, call.errorId], ['UNKNOWN', 'call.unknown_outcome']);
    },
  );

  await t.test(
    '[TOOL-02] a result that fails its schema is refused with the name of the field',
    async () => {
      const call = await callTool(system, 'lies.echo', {});
      assert.deepEqual([call.outcome, call.errorId], ['FAILED', 'tool.result_invalid']);
      assert.match(call.errorMessage, /result of lies\.echo: count\b/);
    },
  );

  await t.test('[BRG-02] all of them are restarted', () => system.healthy());

  await t.test(
    '[BRG-03] a path that is no regular file, outside the roots or missing is refused as such',
    async () => {
      execFileSync('mkfifo', [join(files, 'pipe')]);
      mkdirSync(join(files, 'folder'));
      writeFileSync(join(system.layout.home, 'secret.txt'), 'not for anyone');
      symlinkSync('../../secret.txt', join(files, 'link.txt'));
      symlinkSync('/', join(files, 'slash'));
      const refused = {
        pipe: 'fs.not_regular',
        folder: 'fs.not_regular',
        'link.txt': 'fs.outside_roots',
        'slash/etc/passwd': 'fs.outside_roots',
        '../../secret.txt': 'fs.outside_roots',
        '/etc/passwd': 'fs.outside_roots',
        '/dev/zero': 'fs.outside_roots',
        'nothing.txt': 'fs.not_found',
      };
      for (const [path, errorId] of Object.entries(refused)) {
        const call = await callTool(system, 'fs.read', { path });
        assert.deepEqual([call.outcome, call.errorId], ['FAILED', errorId], path);
        assert.doesNotMatch(JSON.stringify(call), /not for anyone/);
      }
    },
  );

  await t.test(
    '[BRG-03] from a file of 10 GB it reads what is allowed, or the requested range',
    async () => {
      const size = 10 * GIBIBYTE;
      writeFileSync(join(files, 'large.bin'), '');
      truncateSync(join(files, 'large.bin'), size);
      const all = await contentOf(system, { path: 'large.bin' });
      assert.deepEqual([all.size, all.truncated, all.offset], [size, true, 0]);
      assert.ok(all.length > 0 && all.length <= 1_048_576);
      const end = await contentOf(system, { path: 'large.bin', offset: size - 5, length: 10 });
      assert.deepEqual([end.length, end.truncated, end.content], [5, false, 'AAAAAAA=']);
    },
  );

  await t.test(
    '[BRG-03] bytes that are not UTF-8 become base64, or an error where text was requested',
    async () => {
      const bytes = Buffer.from([0x68, 0x69, 0xff, 0xfe, 0xc3]);
      writeFileSync(join(files, 'latin.txt'), bytes);
      const auto = await contentOf(system, { path: 'latin.txt' });
      assert.deepEqual([auto.encoding, auto.content], ['base64', bytes.toString('base64')]);
      const text = await callTool(system, 'fs.read', { path: 'latin.txt', encoding: 'text' });
      assert.deepEqual([text.outcome, text.errorId], ['FAILED', 'fs.not_text']);
    },
  );

  await t.test(
    '[HOST-05] [SLO-04] a client may leave at any moment: nothing keeps running or stays open',
    async () => {
      for (let events = 0; events < 6; events += 1) await leaveAfter(system, events);
      const verified = async () =>
        JSON.parse((await system.zl('audit', 'verify', '--json')).stdout);
      const report = await eventually(async () => {
        const told = await verified();
        return told.openIntents === 0 ? told : undefined;
      });
      assert.equal(report.ok, true, JSON.stringify(report));
      await eventually(async () => /^zl_host_turns_running\S* 0$/m.test(await metricsOf(system)));
      await eventually(async () => /^zl_host_streams_open\S* 0$/m.test(await metricsOf(system)));
    },
  );
});

/** The result of a successful read. */
async function contentOf(system: System, args: object) {
  const call = await callTool(system, 'fs.read', args);
  assert.equal(call.outcome, 'DONE', call.errorMessage);
  return JSON.parse(call.resultJson).structuredContent;
}

async function leaveAfter(system: System, events: number): Promise<void> {
  const session = await system.chat();
  let heard = 0;
  const leave = () => {
    heard += 1;
    if (heard === events) session.close();
  };
  const turn = runTurn(session, 'call fs.read {"path":"welcome.txt"}', leave);
  if (events === 0) session.close();
  await turn.catch(() => {});
}

async function metricsOf({ settings }: System): Promise<string> {
  return (await fetch(`${settings.host.adminUrl}/metrics`)).text();
}
