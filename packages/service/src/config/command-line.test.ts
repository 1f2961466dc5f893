import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCommandLine } from './command-line.ts';

const PROGRAM = { program: 'a-service', configEnv: 'ZL_A_CONFIG' };

test('[OPS-02] a file is named by --config, or else by the environment', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zl-command-line-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const [one, two] = [join(dir, 'one.yaml'), join(dir, 'two.yaml')];
  writeFileSync(one, 'a: 1');
  writeFileSync(two, 'a: 2');
  const env = { ZL_A_CONFIG: two };
  const given = await readCommandLine(['--config', one], { ...PROGRAM, env });
  assert.deepEqual(given.sources.file, { path: one, text: 'a: 1' });
  const implied = await readCommandLine([], { ...PROGRAM, env });
  assert.deepEqual(implied.sources.file, { path: two, text: 'a: 2' });
});

test('settings may hold equal signs, and nothing is printed unless asked', async () => {
  const { sources, printConfig } = await readCommandLine(['--set', 'a.b=c=d'], {
    ...PROGRAM,
    env: {},
  });
  assert.deepEqual(sources.flags, { 'a.b': 'c=d' });
  assert.equal(printConfig, false);
});

for (const argv of [['--set', 'nothing'], ['--confg', 'x'], ['stray'], ['--config', '/no/file']]) {
  test(`${argv.join(' ')} is refused in words`, async () => {
    await assert.rejects(readCommandLine(argv, { ...PROGRAM, env: {} }), {
      name: 'ZlError',
      id: 'config.invalid',
    });
  });
}
