import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually, tempDir } from '@zerolatency/testing';
import { type FileWatchOptions, watchFiles } from './watch-files.ts';

/** Looks only happen when the test asks. */
const NEVER_MS = 2 ** 31 - 1;

function start(t: TestContext, options: Partial<FileWatchOptions> & { readonly dir: string }) {
  const seen: string[] = [];
  const errors: string[] = [];
  const watch = watchFiles({
    files: async () => [join(options.dir, 'a')],
    onChange: (contents) => {
      seen.push([...contents.values()].map(String).join('+'));
    },
    onError: (reason) => errors.push(String(reason)),
    pollMs: NEVER_MS,
    ...options,
  });
  t.after(() => watch.close());
  return { watch, seen, errors };
}

test('a file is reported at the first poll, and again only when its content changes', async (t) => {
  const dir = tempDir(t);
  const file = join(dir, 'a');
  const { watch, seen } = start(t, { dir });
  writeFileSync(file, 'one');
  await watch.check();
  utimesSync(file, 1, 1);
  await watch.check();
  writeFileSync(file, 'two');
  await watch.check();
  await watch.check();
  assert.deepEqual(seen, ['one', 'two']);
});

test('content of the same length and modification time is noticed', async (t) => {
  const dir = tempDir(t);
  const file = join(dir, 'a');
  const { watch, seen } = start(t, { dir });
  for (const text of ['one', 'two']) {
    writeFileSync(`${file}.next`, text);
    utimesSync(`${file}.next`, 5, 5);
    renameSync(`${file}.next`, file);
    await watch.check();
  }
  assert.deepEqual(seen, ['one', 'two']);
});

test('content written in place within one tick of the file system clock is noticed', async (t) => {
  const dir = tempDir(t);
  const { watch, seen } = start(t, { dir });
  const texts = ['one', 'two', 'six', 'ten'];
  for (const text of texts) {
    writeFileSync(join(dir, 'a'), text);
    await watch.check();
  }
  assert.deepEqual(seen, texts);
});

test('a directory that is swapped by a symbolic link is noticed', async (t) => {
  const dir = tempDir(t);
  const { watch, seen } = start(t, { dir, files: async () => [join(dir, '..data', 'a')] });
  for (const version of ['v1', 'v2']) {
    mkdirSync(join(dir, version));
    writeFileSync(join(dir, version, 'a'), version);
    symlinkSync(version, join(dir, 'next'));
    renameSync(join(dir, 'next'), join(dir, '..data'));
    await watch.check();
  }
  assert.deepEqual(seen, ['v1', 'v2']);
});

test('a file that comes into a listed directory, or leaves it, is a change', async (t) => {
  const dir = tempDir(t);
  const files = async () => readdirSync(dir).map((name) => join(dir, name));
  const { watch, seen } = start(t, { dir, files });
  writeFileSync(join(dir, 'a'), '1');
  await watch.check();
  writeFileSync(join(dir, 'b'), '2');
  await watch.check();
  rmSync(join(dir, 'a'));
  await watch.check();
  assert.deepEqual(seen, ['1', '1+2', '2']);
});

test('a missing file is reported once, and again after it had come back', async (t) => {
  const dir = tempDir(t);
  const { watch, seen, errors } = start(t, { dir });
  await watch.check();
  await watch.check();
  assert.equal(errors.length, 1);
  writeFileSync(join(dir, 'a'), 'one');
  await watch.check();
  rmSync(join(dir, 'a'));
  await watch.check();
  assert.equal(errors.length, 2);
  assert.deepEqual(seen, ['one']);
});

test('content the listener refuses is offered again, and reported again only when the reason changes', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'a'), 'one');
  const reasons = ['not yet', 'not yet', 'still not'];
  const { watch, errors } = start(t, {
    dir,
    onChange: () => {
      const reason = reasons.shift();
      if (reason !== undefined) throw new Error(reason);
    },
  });
  for (let look = 0; look < 5; look++) await watch.check();
  assert.deepEqual(errors, ['Error: not yet', 'Error: still not']);
  assert.equal(reasons.length, 0);
});

test('a directory, a FIFO and a huge file are refused without being read', async (t) => {
  const dir = tempDir(t);
  const file = join(dir, 'a');
  const { watch, seen, errors } = start(t, { dir });
  mkdirSync(file);
  await watch.check();
  rmSync(file, { recursive: true });
  execFileSync('mkfifo', [file]);
  await watch.check();
  rmSync(file);
  execFileSync('truncate', ['-s', '10G', file]);
  await watch.check();
  assert.deepEqual(seen, []);
  assert.equal(errors.length, 2);
  assert.match(errors[0]!, /is not a regular file/);
  assert.match(errors[1]!, /is larger than/);
});

test('it looks by itself, and no more after close', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'a'), 'one');
  const { watch, seen } = start(t, { dir, pollMs: 1 });
  await eventually(() => seen.length === 1);
  watch.close();
  writeFileSync(join(dir, 'a'), 'two');
  await watch.check();
  assert.deepEqual(seen, ['one']);
});
