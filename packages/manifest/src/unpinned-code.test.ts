import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import type { CommandServer } from './manifest.ts';
import { unpinnedCode } from './unpinned-code.ts';

test('[BRG-02] an interpreter is pinned when its script lies in a pinned folder', async (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, 'code'));
  const at = (name: string) => join(dir, name);
  for (const name of ['code/main.js', 'code-2.js', 'data.json']) writeFileSync(at(name), '{}');
  writeFileSync(at('code/tool'), '#!/usr/bin/env node');
  chmodSync(at('code/tool'), 0o755);
  symlinkSync(process.execPath, at('server'));
  const base = { name: 's', sha256: '', env: { allow: [], set: {} } };
  const folders = [{ path: at('code'), sha256: '' }];
  const main = at('code/main.js');
  const of = (server: Pick<CommandServer, 'command' | 'args'> & Partial<CommandServer>) =>
    unpinnedCode({ ...base, ...server });

  assert.equal(await of({ command: '/usr/bin/node', args: [main] }), main);
  assert.equal(
    await of({ command: '/usr/bin/node', args: ['--x', main, at('data.json')], folders }),
    undefined,
  );
  assert.equal(
    await of({ command: '/usr/bin/node', args: ['main.js'], cwd: at('code'), folders }),
    undefined,
  );
  assert.equal(
    await of({ command: '/usr/bin/node', args: [at('code-2.js')], folders }),
    at('code-2.js'),
  );
  const files = [{ path: main, sha256: '' }];
  assert.equal(await of({ command: '/usr/bin/node', args: [main], files }), main);
  assert.match(
    (await of({ command: '/usr/bin/python3.11', args: ['-m', 'x'], folders })) ?? '',
    /loads/,
  );
  assert.match((await of({ command: at('server'), args: [] })) ?? '', /server loads/);
  assert.equal(await of({ command: at('code/tool'), args: [] }), at('code/tool'));
  assert.equal(await of({ command: at('code/tool'), args: [], folders }), undefined);
  assert.equal(await of({ command: '/usr/bin/tickets-server', args: [main] }), undefined);
});
