import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs, {
  appendFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { platform } from 'node:process';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { readFileRange } from './read-file.ts';
import { openRoots, openWithin } from './roots.ts';

const ON_LINUX = { skip: platform !== 'linux' };
const WHOLE = { offset: 0, length: undefined, encoding: 'auto' } as const;

/** A root with a file in it, and a folder beside it. */
function world(t: TestContext) {
  const dir = realpathSync(tempDir(t));
  const root = join(dir, 'root');
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(join(dir, 'beside'));
  writeFileSync(join(root, 'hello.txt'), 'hello');
  const roots = openRoots([root]);
  const at = (...parts: string[]) => join(root, ...parts);
  /** The error and the place of a path that cannot be opened. */
  const refused = (path: string) => {
    const opened = openWithin(roots, path);
    assert.ok('error' in opened, path);
    return [opened.error.id, opened.place?.path];
  };
  const read = (path: string) => readFileRange(roots, { ...WHOLE, path }, 1_000_000);
  const readWell = (path: string, offset = 0) => {
    const { result, error } = readFileRange(roots, { ...WHOLE, path, offset }, 1_000_000);
    assert.ok(result !== undefined, error?.message);
    return result;
  };
  return { dir, roots, at, refused, read, readWell };
}

/** Reads while something happens between the check and the read. */
function readWhile<T>(act: () => void, read: () => T): T {
  const isReopened = (path: string) => path.startsWith('/proc/self/fd/');
  return withOpens({ before: (path) => isReopened(path) && act() }, read);
}

interface AtOpen {
  before?(path: string): void;
  after?(path: string): void;
}

/** Acts at instants that no other process could be sure to meet. */
function withOpens<T>({ before, after }: AtOpen, read: () => T): T {
  const { openSync } = fs;
  fs.openSync = (path, ...rest) => {
    before?.(String(path));
    const descriptor = openSync(path, ...rest);
    after?.(String(path));
    return descriptor;
  };
  syncBuiltinESMExports();
  try {
    return read();
  } finally {
    fs.openSync = openSync;
    syncBuiltinESMExports();
  }
}

test('[BRG-03] a path that is longer or deeper than any file is refused unresolved', (t) => {
  const { refused, at } = world(t);
  const unresolved = ['tool.arguments_invalid', undefined];
  assert.equal(refused('x'.repeat(4096))[0], 'fs.not_found');
  assert.deepEqual(refused('x'.repeat(4097)), unresolved);
  assert.deepEqual(refused('a/'.repeat(50_000)), unresolved);
  assert.deepEqual(refused('a/'.repeat(2_048)), unresolved);
  assert.deepEqual(refused('a\0'), unresolved);
  const parts = at().split('/').length;
  const deepest = Array(256 - parts).fill('a');
  assert.deepEqual(refused(deepest.join('/')), ['fs.not_found', at(...deepest)]);
  assert.deepEqual(refused([...deepest, 'a'].join('/')), unresolved);
});

test('[BRG-03] a path that cannot be opened is reported where its links lead', (t) => {
  const { dir, refused, at } = world(t);
  mkdirSync(at('sub', 'deep'));
  symlinkSync('sub/deep', at('folder'));
  symlinkSync('sub/deep/none', at('dangling'));
  symlinkSync('dangling', at('twice'));
  symlinkSync(join(dir, 'beside', 'none'), at('out'));
  symlinkSync('loop', at('loop'));
  assert.deepEqual(refused('folder/x/y/z'), ['fs.not_found', at('sub/deep/x/y/z')]);
  assert.deepEqual(refused('folder'), ['fs.not_regular', at('sub/deep')]);
  assert.deepEqual(refused('hello.txt/x'), ['fs.not_found', at('hello.txt/x')]);
  assert.deepEqual(refused('dangling'), ['fs.not_found', at('sub/deep/none')]);
  assert.deepEqual(refused('dangling/x'), ['fs.not_found', at('sub/deep/none/x')]);
  assert.deepEqual(refused('twice'), ['fs.not_found', at('sub/deep/none')]);
  assert.deepEqual(refused('out'), ['fs.outside_roots', undefined]);
  assert.deepEqual(refused('out/x'), ['fs.outside_roots', undefined]);
  assert.deepEqual(refused('loop'), ['fs.not_found', at('loop')]);
});

test('[BRG-03] a root is named as it was given or as it is, and by no other link', (t) => {
  const { dir, at, refused } = world(t);
  symlinkSync(at(), join(dir, 'alias'));
  assert.deepEqual(refused(join(dir, 'alias', 'hello.txt')), ['fs.outside_roots', undefined]);
  const aliased = openRoots([join(dir, 'alias')]);
  for (const path of ['hello.txt', at('hello.txt'), join(dir, 'alias', 'hello.txt')]) {
    const opened = openWithin(aliased, path);
    assert.ok('file' in opened, path);
    opened.file.close();
  }
});

test('[BRG-03] a file that is replaced as it is opened is opened again, a few times', (t) => {
  const { at, read } = world(t);
  const path = at('hello.txt');
  const readReplacing = (times: number) => {
    let left = times;
    const after = (opened: string) => {
      if (opened !== path || left-- <= 0) return;
      writeFileSync(at('new'), 'hello');
      renameSync(at('new'), path);
    };
    return withOpens({ after }, () => read('hello.txt'));
  };
  assert.equal(readReplacing(3).result?.content, 'hello');
  const { error, place } = readReplacing(100);
  assert.deepEqual([error?.id, place?.path], ['fs.not_found', path]);
});

test('[BRG-03] a file is reported with the number of its names', (t) => {
  const { at, read } = world(t);
  symlinkSync('hello.txt', at('link'));
  assert.deepEqual(read('link').place, { path: at('hello.txt'), links: 1 });
  linkSync(at('hello.txt'), at('sub', 'hard'));
  assert.deepEqual(read('sub/hard').place, { path: at('sub/hard'), links: 2 });
  rmSync(at('hello.txt'));
  assert.deepEqual(read('sub/hard').place, { path: at('sub/hard'), links: 1 });
});

test('[BRG-03] files that the kernel makes up are not read', ON_LINUX, () => {
  for (const path of ['/proc/self/environ', '/proc/kmsg', '/sys/kernel/mm/transparent_hugepage']) {
    const opened = openWithin(openRoots(['/proc', '/sys']), path);
    assert.ok('error' in opened, path);
    assert.notEqual(opened.error.id, 'fs.outside_roots', path);
  }
  const status = openWithin(openRoots(['/']), '/proc/self/status');
  assert.equal('error' in status && status.error.id, 'fs.not_regular');
});

test('[BRG-03] however a path ends, no descriptor stays open', ON_LINUX, (t) => {
  const { dir, at, roots, read } = world(t);
  execFileSync('mkfifo', [at('fifo')]);
  symlinkSync(join(dir, 'beside'), at('out'));
  symlinkSync('loop', at('loop'));
  writeFileSync(at('binary'), Buffer.from([0xff]));
  const paths = [
    'hello.txt',
    'sub',
    'fifo',
    'out',
    'out/x',
    'loop',
    'none',
    'a\0',
    '../x',
    'binary',
  ];
  const openNow = () => readdirSync('/proc/self/fd').length;
  const before = openNow();
  for (let round = 0; round < 20; round++) {
    for (const path of paths) {
      read(path);
      readFileRange(roots, { ...WHOLE, path, encoding: 'text' }, 3);
    }
  }
  assert.equal(openNow(), before);
});

test('[BRG-03] a file that shrinks while it is read ends where its bytes end', ON_LINUX, (t) => {
  const { at, readWell } = world(t);
  const path = at('log');
  for (const left of [3, 0]) {
    writeFileSync(path, 'x'.repeat(100_000));
    const cut = () => truncateSync(path, left);
    const { size, length, content, truncated } = readWhile(cut, () => readWell('log'));
    assert.deepEqual([size, length, content, truncated], [left, left, 'x'.repeat(left), false]);
  }
  writeFileSync(path, 'x'.repeat(100));
  const cut = () => truncateSync(path, 10);
  const { size, length, truncated } = readWhile(cut, () => readWell('log', 50));
  assert.deepEqual([size, length, truncated], [50, 0, false]);
});

test('[BRG-03] a file that grows while it is read ends where it ended', ON_LINUX, (t) => {
  const { at, readWell } = world(t);
  const grow = () => appendFileSync(at('hello.txt'), ', world');
  const { size, content, truncated } = readWhile(grow, () => readWell('hello.txt'));
  assert.deepEqual([size, content, truncated], [5, 'hello', false]);
});

test('[BRG-03] what was checked is read, whatever takes its name meanwhile', ON_LINUX, (t) => {
  const { dir, at, readWell } = world(t);
  writeFileSync(join(dir, 'beside', 'key'), 'SECRET');
  const swap = () => {
    symlinkSync(join(dir, 'beside', 'key'), at('new'));
    renameSync(at('new'), at('hello.txt'));
  };
  assert.equal(readWhile(swap, () => readWell('hello.txt')).content, 'hello');
});
