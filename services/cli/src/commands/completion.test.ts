import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeTerminal } from '../../test/fake-terminal.ts';
import { runZl } from '../../test/installed.ts';
import { SHELLS } from './completion.ts';

async function complete(...words: string[]): Promise<string[]> {
  const { stdout } = await runZl(fakeTerminal(), ['complete', '--', ...words]);
  return stdout.split('\n').slice(0, -1);
}

test('[CLI-02] completes commands, their subcommands, options and choices', async () => {
  assert.deepEqual(await complete('poli'), ['policy']);
  assert.deepEqual(await complete('policy', 's'), ['sign', 'show']);
  assert.deepEqual(await complete('chat', '--m'), ['--model']);
  assert.deepEqual(await complete('logs', 'tool'), ['tool-relay']);
  assert.ok((await complete('')).includes('doctor'));
  assert.ok(!(await complete('')).includes('complete'));
});

for (const shell of SHELLS) {
  const isMissing = spawnSync(shell, ['-c', 'true']).error !== undefined;
  test(`[CLI-02] ${shell} reads its completion script`, {
    skip: isMissing && `no ${shell}`,
  }, async () => {
    const { status, stdout } = await runZl(fakeTerminal(), ['completion', shell]);
    assert.equal(status, 0);
    const { stderr, status: read } = spawnSync(shell, ['-n'], { input: stdout, encoding: 'utf8' });
    assert.deepEqual([stderr, read], ['', 0]);
  });
}

test('[CLI-02] bash completes zl with the script', async () => {
  const { stdout } = await runZl(fakeTerminal(), ['completion', 'bash']);
  const zl = join(import.meta.dirname, '../../../../zl');
  const shell = `${stdout}\nzl() { '${zl}' "$@"; }\nCOMP_WORDS=(zl policy si); COMP_CWORD=2; _zl; echo "\${COMPREPLY[@]}"`;
  assert.equal(spawnSync('bash', ['-c', shell], { encoding: 'utf8' }).stdout, 'sign\n');
});
