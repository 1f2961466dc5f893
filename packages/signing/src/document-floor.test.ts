import assert from 'node:assert/strict';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { openFloorFile } from './index.ts';

const FLOOR = { id: 'default', version: 3, digest: 'sha256:00' };

test('a floor file returns the last saved floor, and nothing at first', async (t) => {
  const dir = tempDir(t);
  const file = openFloorFile(join(dir, 'floor.json'));
  assert.equal(await file.load(), undefined);
  await file.save(FLOOR);
  await file.save({ ...FLOOR, version: 4 });
  assert.deepEqual(await openFloorFile(join(dir, 'floor.json')).load(), { ...FLOOR, version: 4 });
  assert.deepEqual(readdirSync(dir), ['floor.json']);
});

test('an interrupted save leaves the previous floor', async (t) => {
  const path = join(tempDir(t), 'floor.json');
  await openFloorFile(path).save(FLOOR);
  writeFileSync(`${path}.next`, '{"id":"def');
  assert.deepEqual(await openFloorFile(path).load(), FLOOR);
  await openFloorFile(path).save({ ...FLOOR, version: 9 });
  assert.equal((await openFloorFile(path).load())?.version, 9);
});

test('[POL-02] a floor that was there and is missing is refused until it is restored or reset', async (t) => {
  const path = join(tempDir(t), 'floor.json');
  let isMarked = false;
  const mark = {
    isSet: () => isMarked,
    set: () => {
      isMarked = true;
    },
  };
  const file = openFloorFile(path, mark);
  assert.equal(await file.load(), undefined, 'the first start');
  await file.save(FLOOR);
  rmSync(path);
  await assert.rejects(file.load(), /is missing, and was there before: restore it, or write/);
  writeFileSync(path, '{"reset":true}');
  assert.equal(await file.load(), undefined);
  await file.save({ ...FLOOR, seenMs: 5 });
  assert.deepEqual(await file.load(), { ...FLOOR, seenMs: 5 });
});

test('[POL-02] a floor of an earlier release is marked when it is read', async (t) => {
  const path = join(tempDir(t), 'floor.json');
  await openFloorFile(path).save(FLOOR);
  const marked: string[] = [];
  const mark = { isSet: () => false, set: () => void marked.push('set') };
  assert.deepEqual(await openFloorFile(path, mark).load(), FLOOR);
  assert.deepEqual(marked, ['set']);
});

test('an unreadable floor is an error and never a guess', async (t) => {
  const path = join(tempDir(t), 'floor.json');
  for (const text of ['', 'garbage', 'null', '[]', '{"id":"a","version":1}', '{"version":1e99}']) {
    writeFileSync(path, text);
    await assert.rejects(openFloorFile(path).load(), /cannot be read as a floor/);
  }
  await assert.rejects(openFloorFile(join(path, 'below')).load());
  await assert.rejects(openFloorFile(join(path, 'none', 'floor.json')).save(FLOOR));
});
