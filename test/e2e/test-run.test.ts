import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually, tempDir } from '@zerolatency/testing';
import { commandLine } from './installed-processes.ts';

const repository = join(import.meta.dirname, '../..');
const options = { timeout: 300_000, skip: platform() === 'linux' ? false : 'reads /proc' };

/** A test that passes, or hangs, and leaves a disk and a process of another session without environment. */
const WASTEFUL = `
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
test('wasteful', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(tmpdir() + '/forgotten-');
  // Only as root.
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]);
  const deaf = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)';
  const { pid } = spawn(process.execPath, ['-e', deaf], { env: {}, detached: true, stdio: 'ignore' });
  writeFileSync(process.env.ZL_WASTE, JSON.stringify({ pid, folder }));
  if (process.env.ZL_HANGS === 'true') await new Promise((resolve) => setTimeout(resolve, 50_000));
  process.exit(0);
});
`;

interface Waste {
  readonly pid: number;
  readonly folder: string;
}

function startRun(t: TestContext, hangs: boolean) {
  const dir = tempDir(t);
  const file = join(dir, 'wasteful.test.mjs');
  const waste = join(dir, 'waste.json');
  writeFileSync(file, WASTEFUL);
  // Otherwise the runner takes the run for one of its own files.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(process.execPath, ['scripts/test.ts', file], {
    cwd: repository,
    env: { ...env, ZL_WASTE: waste, ZL_HANGS: String(hangs) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const read = (): Waste => JSON.parse(readFileSync(waste, 'utf8'));
  return { child, read };
}

function isGone({ pid, folder }: Waste): boolean {
  return commandLine(pid) === '' && !existsSync(join(folder, '..'));
}

test(
  'a run that leaves a process and a folder behind fails, names them and removes them',
  options,
  async (t) => {
    const { child, read } = startRun(t, false);
    let errors = '';
    child.stderr.on('data', (chunk) => {
      errors += chunk;
    });
    const [status] = await once(child, 'close');
    const waste = read();
    assert.equal(status, 1);
    assert.match(errors, new RegExp(`left behind by the tests: process ${waste.pid}: .*SIGTERM`));
    assert.match(errors, /left behind by the tests: temporary folder: forgotten-/);
    assert.ok(isGone(waste));
  },
);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  test(`a run that is ended by ${signal} leaves nothing behind`, options, async (t) => {
    const { child, read } = startRun(t, true);
    const waste = await eventually(read, { timeoutMs: 30_000 });
    assert.ok(!isGone(waste));
    child.kill(signal);
    await eventually(() => isGone(waste), { timeoutMs: 30_000 });
  });
}
