import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { findHome } from './layout.ts';

test('the nearest .zl upwards is found, and a new one begins here', async (t) => {
  const dir = tempDir(t);
  const deep = join(dir, 'a', 'b');
  await mkdir(deep, { recursive: true });
  assert.equal(findHome(deep, undefined), join(deep, '.zl'));
  await mkdir(join(dir, '.zl'));
  assert.equal(findHome(deep, undefined), join(dir, '.zl'));
  await mkdir(join(dir, 'a', '.zl'));
  assert.equal(findHome(deep, undefined), join(dir, 'a', '.zl'));
});

test('a folder that is named wins, from here when it is relative; an empty name is none', async (t) => {
  const dir = tempDir(t);
  await mkdir(join(dir, '.zl'));
  assert.equal(findHome(dir, '/elsewhere'), '/elsewhere');
  assert.equal(findHome(dir, 'here'), join(dir, 'here'));
  assert.equal(findHome(dir, ''), join(dir, '.zl'));
});
