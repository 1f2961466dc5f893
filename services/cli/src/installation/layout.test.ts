import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { findHome } from './layout.ts';

test('finds the nearest .zl upwards, or else starts one here', async (t) => {
  const dir = tempDir(t);
  const deep = join(dir, 'a', 'b');
  await mkdir(deep, { recursive: true });
  assert.equal(findHome(deep, undefined), join(deep, '.zl'));
  await mkdir(join(dir, '.zl'));
  assert.equal(findHome(deep, undefined), join(dir, '.zl'));
  await mkdir(join(dir, 'a', '.zl'));
  assert.equal(findHome(deep, undefined), join(dir, 'a', '.zl'));
});

test('a given folder wins, relative to the current one; an empty name does not count', async (t) => {
  const dir = tempDir(t);
  await mkdir(join(dir, '.zl'));
  assert.equal(findHome(dir, '/elsewhere'), '/elsewhere');
  assert.equal(findHome(dir, 'here'), join(dir, 'here'));
  assert.equal(findHome(dir, ''), join(dir, '.zl'));
});
