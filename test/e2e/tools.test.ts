import assert from 'node:assert/strict';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fakeTerminal } from '../../services/cli/test/fake-terminal.ts';
import { runZl } from '../../services/cli/test/installed.ts';
import { startSystem } from './system.ts';

test('a server of a person, from its file to a call', { timeout: 300_000 }, async (t) => {
  const system = await startSystem(t);
  const { layout } = system;
  const cwd = dirname(layout.home);
  const folder = join(cwd, 'notes');
  await mkdir(folder);
  const script = join(folder, 'server.mjs');
  await copyFile(join(import.meta.dirname, 'fixtures', 'notes-server.mjs'), script);
  const zl = (...args: string[]) => {
    const env = { PATH: dirname(process.execPath) };
    return runZl(fakeTerminal({ cwd, env }), ['--home', layout.home, ...args]);
  };
  const add = () => zl('tools', 'add', 'notes', '--', 'node', 'notes/server.mjs');

  await t.test('[CLI-02] tools add makes a server that runs, and call reaches it', async () => {
    const added = await add();
    assert.equal(added.status, 0, added.stderr);
    assert.match(added.stdout, /\nnotes is ready; "zl tools test notes" shows its tools\n$/);
    const tested = await zl('tools', 'test', 'notes');
    assert.match(tested.stdout, /^notes\.add {2}allowed by rule tools-notes\n/);
    const called = await zl('call', 'notes.add', '{"a":2,"b":3}');
    assert.equal(called.status, 0, called.stdout);
    assert.match(called.stdout, /\nthe sum is 5\n/);
  });

  await t.test(
    '[CLI-02] tools add names why a server does not run, and hashes it again',
    async () => {
      await writeFile(script, 'console.error("no such table"); process.exit(1);\n');
      const failed = await add();
      assert.equal(failed.status, 1, failed.stdout);
      assert.match(failed.stderr, /^zl: notes does not run: .*\n(.*\n)* +no such table\n/);
      await copyFile(join(import.meta.dirname, 'fixtures', 'notes-server.mjs'), script);
      assert.equal((await add()).status, 0);
      assert.equal((await zl('call', 'notes.add', '{"a":1,"b":1}')).status, 0);
    },
  );
});
