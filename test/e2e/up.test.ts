import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { platform } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, tempDir } from '@zerolatency/testing';
import { layoutOf } from '../../services/cli/src/installation/layout.ts';
import {
  answerOf,
  eventsOf,
  PLANTED_KEY,
  sendsError,
  sendsEvents,
  vendorServer,
} from '../../services/model-host/test/vendors/vendor-server.ts';
import { commandLine, processesOf, stopWithTests } from './installed-processes.ts';
import { runZl } from './system.ts';

const options = { timeout: 400_000, skip: platform() === 'linux' ? false : 'reads /proc' };

test('the commands of a newcomer', options, async (t) => {
  // Registered before the folder's removal, because hooks run in that order.
  t.after(() => zl('down'));
  const layout = layoutOf(join(tempDir(t), '.zl'));
  stopWithTests(layout.home);
  const zl = (...args: string[]) => runZl(layout, args);
  const running = () => processesOf(layout.home);

  await t.test(
    '[BRG-04] [CLI-01] zl up starts all four, enrols its device and ends a first chat with a verified receipt',
    async () => {
      // Two concurrent starts make one installation.
      const both = await Promise.all([zl('up'), zl('up')]);
      for (const { status, stdout, stderr } of both) assert.equal(status, 0, stdout + stderr);
      const [stdout = '', later = ''] = both
        .map((ran) => ran.stdout)
        .toSorted()
        .toReversed();
      assert.match(later, /^Already running\.$/m);
      assert.match(stdout, /Started registrar, tool-relay, model-host, device-bridge/);
      assert.match(stdout, /Welcome to Zero Latency/);
      assert.match(stdout, /Receipt verified: call [0-9a-f]{32}, done/);
      for (const hop of ['host', 'network', 'bridge', 'MCP server']) {
        assert.match(stdout, new RegExp(`^ +${hop}.* [\\d.]+ ms$`, 'm'));
      }
      // Colours are for terminals only.
      assert.ok(!stdout.includes('\u001b['));
      // Four services, the bridge's supervisor and one MCP server.
      assert.equal(running().length, 6, running().map(commandLine).join('\n'));
    },
  );

  await t.test('[CLI-01] a second zl up finds them running and only chats', async () => {
    const before = running();
    const { status, stdout } = await zl('up');
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^Already running\.$/m);
    assert.match(stdout, /Receipt verified/);
    assert.deepEqual(running(), before);
  });

  await t.test('[CLI-01] no component reports an error of its own in its log', async () => {
    const { stdout } = await zl('logs');
    const reported = stdout.split('\n').filter((line) => / error +|error_id=internal/.test(line));
    assert.deepEqual(reported, []);
  });

  await t.test('[CLI-01] zl status names every component with its addresses', async () => {
    const { status, stdout } = await zl('status', '--json');
    assert.equal(status, 0, stdout);
    const { components } = JSON.parse(stdout);
    assert.deepEqual(
      components.map(({ name, health, version }: Record<string, string>) => [
        name,
        health,
        version,
      ]),
      ['model-host', 'tool-relay', 'registrar', 'device-bridge'].map((name) => [
        name,
        'ok',
        '0.1.0',
      ]),
    );
    assert.match(components[0].addresses.rpc, /^https:\/\/localhost:\d+$/);
    assert.equal((await fetch(components[0].addresses.metrics)).status, 200);
  });

  await t.test(
    '[CLI-01] zl chat with a message runs one turn and prints one event per line',
    async () => {
      const { status, stdout } = await zl('chat', '--json', 'Read the welcome file');
      assert.equal(status, 0, stdout);
      const events = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
      assert.ok('assistantDone' in events.at(-1), stdout);
    },
  );

  await t.test('[CLI-01] zl up restarts only what has died', async () => {
    const relay = running().find((pid) =>
      /tool-relay\/src\/main\.ts .*relay\.yaml/.test(commandLine(pid)),
    );
    process.kill(relay!, 'SIGKILL');
    const { status, stdout, stderr } = await zl('up');
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^Started tool-relay\. /m);
    assert.match(stdout, /Receipt verified/);
    assert.equal(running().length, 6, running().map(commandLine).join('\n'));
  });

  await t.test('[BRG-02] [CLI-01] a bridge that dies is restarted without a zl up', async () => {
    const isBridge = (pid: number) =>
      /^\S+ \S+ \S+device-bridge\/src\/main\.ts/.test(commandLine(pid));
    const bridge = running().find(isBridge);
    process.kill(bridge!, 'SIGKILL');
    await eventually(() => running().some((pid) => pid !== bridge && isBridge(pid)));
    await eventually(async () => (await zl('status')).status === 0);
    assert.match((await zl('up')).stdout, /^Already running\.$/m);
    assert.equal(running().length, 6, running().map(commandLine).join('\n'));
  });

  await t.test('[BRG-02] [CLI-01] zl up ends a bridge whose supervisor was killed', async () => {
    const supervisor = running().find((pid) => commandLine(pid).includes('supervisor/main.ts'));
    process.kill(supervisor!, 'SIGKILL');
    const { status, stdout, stderr } = await zl('up');
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /^Ended a device-bridge that ran without its supervisor \(stopped\)\.$/m);
    assert.match(stdout, /^Started device-bridge\. /m);
    assert.equal(running().length, 6, running().map(commandLine).join('\n'));
  });

  await t.test('[CLI-01] zl down leaves no process and can be repeated', async () => {
    const { status, stdout } = await zl('down');
    assert.equal(status, 0);
    assert.equal(stdout.match(/ stopped$/gm)?.length, 4, stdout);
    assert.deepEqual(running().map(commandLine), []);
    assert.equal((await zl('down')).stdout.match(/ not running$/gm)?.length, 4);
  });

  await t.test(
    '[AUD-01] [AUD-02] the ledger holds what was done and verifies with nothing running',
    async () => {
      const { status, stdout } = await zl('audit', 'verify', '--json');
      assert.equal(status, 0, stdout);
      const { openIntents, byKind } = JSON.parse(stdout);
      assert.deepEqual([openIntents, byKind['call.receipt']], [0, 7]);
    },
  );

  await t.test(
    '[PROV-01] [PROV-04] zl up chats with the vendor whose key is in the environment, and keeps no key',
    async (vendorTest) => {
      const [asks, answers] = [callsForWelcome(), answerOf('anthropic')];
      const vendor = await vendorServer(vendorTest, (response, request) => {
        const isAnswered = vendor.asked.at(-1)?.body.includes('tool_result');
        sendsEvents(isAnswered ? answers : asks)(response, request);
      });
      const { status, stdout, stderr } = await runZl(layout, ['up'], {
        ANTHROPIC_API_KEY: PLANTED_KEY,
        ANTHROPIC_BASE_URL: new URL(vendor.url).origin,
      });
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout, /^Model: claude-\S+ of anthropic, because ANTHROPIC_API_KEY is set\. /m);
      assert.match(stdout, /Done\..*Receipt verified/s);
      assert.equal(vendor.asked.length, 2);
      assert.equal(vendor.asked[0]?.headers['x-api-key'], PLANTED_KEY);
      assert.match(vendor.asked[1]?.body ?? '', /Welcome to Zero Latency/);
      const mock = await zl('chat', '--model', 'mock', 'hello');
      assert.match(mock.stdout, /I am the mock model/);
      assert.equal(vendor.asked.length, 2);
      vendor.answer = sendsError(401);
      const refused = await zl('chat', 'hello');
      assert.equal(refused.status, 1);
      assert.match(refused.stdout, /provider\.unauthorized|refuses the key/);
      assert.equal((await zl('down')).status, 0);
      const files = await readdir(layout.home, { recursive: true, withFileTypes: true });
      const kept = files.filter((file) => file.isFile());
      assert.ok(kept.some(({ name }) => name === 'model-host.log'));
      for (const { parentPath, name } of kept) {
        const path = join(parentPath, name);
        assert.ok(!(await readFile(path)).includes(PLANTED_KEY), path);
      }
      assert.ok(!`${stdout}${stderr}${refused.stdout}${refused.stderr}`.includes(PLANTED_KEY));
    },
  );
});

/** The calls of the vendor's example, for a file that is there. */
function callsForWelcome(): string {
  const example = eventsOf('anthropic').toString();
  return example
    .replace('\\"path\\": \\"a', '\\"path\\": \\"welcome')
    .replace('b.txt', 'welcome.txt');
}
