import assert from 'node:assert/strict';
import { linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectMcp, type McpConnection } from '@zerolatency/mcp';
import { tempDir } from '@zerolatency/testing';
import { figure, size, TIMEOUT_MS } from './attack.ts';

const ATTACK = 'paths that cost';
const CALLS = size({ short: 100, long: 3_000 });
/** A search quadratic in the parts took hundreds of times as long as a read. */
const MAX_RATIO = 10;

const FS_SERVER = join(
  import.meta.dirname,
  '../../services/device-bridge/src/tools/fs/fs-server.ts',
);

/** Nothing that a client or the author of a file can ask for keeps fs.read busy. */
const HOSTILE: Readonly<Record<string, string>> = {
  'as long as the contract allows': 'a/'.repeat(2_048),
  'as deep as the server allows': 'a/'.repeat(200),
  'longer than the contract allows': 'a/'.repeat(50_000),
  'through sixty links': 'link0',
  'through a link to itself': `${'loop/'.repeat(100)}x`,
  'of dots': `${'sub/../'.repeat(500)}none`,
};

async function fsServer(t: TestContext) {
  const root = tempDir(t);
  mkdirSync(join(root, 'sub'));
  writeFileSync(join(root, 'hello.txt'), 'hello');
  for (let link = 0; link < 60; link++) symlinkSync(`link${link + 1}`, join(root, `link${link}`));
  symlinkSync('loop', join(root, 'loop'));
  writeFileSync(join(root, 'huge'), '');
  truncateSync(join(root, 'huge'), 2 ** 40);
  linkSync(join(root, 'huge'), join(root, 'sub', 'huge'));
  const server = await connectMcp({
    transport: {
      kind: 'stdio',
      command: process.execPath,
      args: [FS_SERVER, '--root', root],
      env: {},
    },
    client: { name: 'attack', version: '0' },
  });
  t.after(() => server.close());
  return server;
}

async function readMs(server: McpConnection, path: string): Promise<number> {
  const startMs = performance.now();
  const params = { name: 'read', arguments: { path } };
  await server.request('tools/call', params, { timeoutMs: 20_000 });
  return performance.now() - startMs;
}

/** How many plain reads the middle one of many takes. They alternate, so that other load slows both. */
async function costOf(server: McpConnection, path: string): Promise<number> {
  const hostile: number[] = [];
  const plain: number[] = [];
  for (let call = 0; call < CALLS; call++) {
    hostile.push(await readMs(server, path));
    plain.push(await readMs(server, 'hello.txt'));
  }
  return median(hostile) / median(plain);
}

function median(times: number[]): number {
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN;
}

test('[BRG-03] no path keeps fs.read busy', { timeout: TIMEOUT_MS }, async (t) => {
  const server = await fsServer(t);
  await readMs(server, 'hello.txt');
  for (const [name, path] of Object.entries(HOSTILE)) {
    const ratio = await costOf(server, path);
    figure(t, {
      attack: ATTACK,
      name: `time of a path ${name}`,
      value: ratio,
      unit: 'plain reads',
    });
    assert.ok(ratio < MAX_RATIO, `${name}: ${ratio}`);
  }
});
