import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { makeFolder } from './write-atomically.ts';

test('a folder is made with its parents, for its owner, and one that exists stays', async (t) => {
  const folder = join(await tempDir(t), 'a', 'b');
  await makeFolder(folder);
  await makeFolder(folder);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
});

test('a folder that cannot be made is an error with the code of the system', async (t) => {
  const file = join(await tempDir(t), 'file');
  await writeFile(file, '');
  await assert.rejects(makeFolder(file), { code: 'EEXIST' });
  await assert.rejects(makeFolder(join(file, 'a', 'b')), { code: 'ENOTDIR' });
  // Its answer is ENOENT on Linux, although it exists.
  await assert.rejects(makeFolder('/proc/zl/a'), /mkdir/);
});
