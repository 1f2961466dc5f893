import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { ReadResult } from './read-file.ts';
import { callRead } from './read-tool.ts';
import { openRoots } from './roots.ts';

const LIMITS = { maxBytes: 1000, maxResultBytes: 1_000_000 };

/** A root with one file in it, and a secret beside it. */
function world(t: TestContext) {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'zl-fs-')));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const root = join(dir, 'root');
  const secret = join(dir, 'secret');
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(secret);
  writeFileSync(join(root, 'hello.txt'), 'hello');
  writeFileSync(join(secret, 'key'), 'SECRET');
  const roots = openRoots([root]);
  const call = (args: Record<string, unknown>, more = {}) =>
    callRead(roots, args, { ...LIMITS, ...more });
  const read = (args: Record<string, unknown>, more = {}): ReadResult => {
    const result = call(args, more);
    assert.notEqual(result.isError, true, JSON.stringify(result));
    return result.structuredContent as unknown as ReadResult;
  };
  const fails = (args: Record<string, unknown>) => {
    const result = call(args);
    assert.equal(result.isError, true, JSON.stringify(result));
    assert.equal(result._meta?.errorId, result.structuredContent?.errorId);
    return result.structuredContent?.errorId;
  };
  return { dir, root, secret, roots, call, read, fails };
}

test('[BRG-03] a file inside a root is read completely, with its real path and size', (t) => {
  const { root, read, call } = world(t);
  const path = join(root, 'hello.txt');
  const whole = { path, size: 5, offset: 0, length: 5, encoding: 'text', content: 'hello' };
  assert.deepEqual(read({ path }), { ...whole, truncated: false });
  assert.deepEqual(read({ path: 'sub/../hello.txt' }), { ...whole, truncated: false });
  assert.deepEqual(call({ path }).content, [{ type: 'text', text: 'hello' }]);
});

test('[BRG-03] ranges count bytes and stop at the end of the file', (t) => {
  const { read } = world(t);
  const range = (offset: number, length?: number) => read({ path: 'hello.txt', offset, length });
  assert.equal(range(1, 3).content, 'ell');
  assert.equal(range(1, 3).truncated, false);
  assert.equal(range(3).content, 'lo');
  assert.equal(range(4, 100).content, 'o');
  assert.equal(range(4, 100).truncated, false);
  assert.equal(range(5).length, 0);
  assert.equal(range(Number.MAX_SAFE_INTEGER).length, 0);
});

test('[BRG-03] a file longer than the limit is cut and says truncated', (t) => {
  const { root, read } = world(t);
  writeFileSync(join(root, 'long'), 'x'.repeat(5000));
  const first = read({ path: 'long' });
  assert.deepEqual([first.length, first.size, first.truncated], [1000, 5000, true]);
  const second = read({ path: 'long', offset: 4500 });
  assert.deepEqual([second.length, second.truncated], [500, false]);
  assert.equal(read({ path: 'long', length: 2000 }).truncated, true);
});

test('a result fits its bound, however JSON escapes the content', (t) => {
  const { root, call } = world(t);
  const contents = { text: 'x', quotes: '"', controls: '\u0001', binary: '\u0000' };
  for (const [name, character] of Object.entries(contents)) {
    writeFileSync(join(root, name), character.repeat(50_000));
    const bound = 4000;
    const result = call({ path: name }, { maxBytes: 100_000, maxResultBytes: bound });
    const bytes = Buffer.byteLength(JSON.stringify(result));
    assert.ok(bytes <= bound && bytes > bound / 2, `${name}: ${bytes}`);
    assert.equal(result.structuredContent?.truncated, true);
  }
});

test('a range that ends in the middle of a character at the end of the file is the rest of it', (t) => {
  const { root, read } = world(t);
  writeFileSync(join(root, 'cut'), Buffer.from('a€').subarray(0, 3));
  for (const length of [undefined, 3, 4]) {
    assert.deepEqual(read({ path: 'cut', length }).encoding, 'base64');
  }
});

test('text is never cut inside a character, and pieces join to the whole', (t) => {
  const { root, read } = world(t);
  const path = join(root, 'unicode');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 4, max: 9 }), (text, step) => {
      fc.pre(!text.includes('\0'));
      writeFileSync(path, text);
      const size = Buffer.byteLength(text);
      let joined = '';
      for (let offset = 0; offset < size; ) {
        const piece = read({ path, offset, length: step, encoding: 'text' });
        assert.ok(piece.length > 0);
        joined += piece.content;
        offset += piece.length;
      }
      assert.equal(joined, text);
    }),
  );
});

test('bytes that are not UTF-8 arrive as base64, unless text was requested', (t) => {
  const { root, read, call, fails } = world(t);
  for (const bytes of [Buffer.from([0xff, 0xfe, 0x41]), Buffer.from('a\0b'), Buffer.from([0xc3])]) {
    writeFileSync(join(root, 'binary'), bytes);
    const result = read({ path: 'binary' });
    assert.equal(result.encoding, 'base64');
    assert.deepEqual(Buffer.from(result.content, 'base64'), bytes);
    const size = bytes.length;
    const text = `${size} of ${size} bytes of ${join(root, 'binary')}, as base64`;
    assert.deepEqual(call({ path: 'binary' }).content, [{ type: 'text', text }]);
  }
  assert.equal(fails({ path: 'binary', encoding: 'text' }), 'fs.not_text');
  writeFileSync(join(root, 'euro'), '€€');
  assert.equal(fails({ path: 'euro', offset: 1, encoding: 'text' }), 'fs.not_text');
  assert.equal(fails({ path: 'euro', length: 2, encoding: 'text' }), 'fs.not_text');
  assert.equal(read({ path: 'euro', length: 5 }).content, '€');
  assert.equal(read({ path: 'euro', length: 2 }).encoding, 'base64');
  assert.equal(read({ path: 'hello.txt', encoding: 'base64' }).content, 'aGVsbG8=');
});

test('[BRG-03] a path outside the roots is refused, whether it exists or not', (t) => {
  const { dir, root, secret, fails } = world(t);
  const paths = [
    '../secret/key',
    '..',
    '../nothing',
    join(secret, 'key'),
    '/etc/passwd',
    '/dev/zero',
  ];
  for (const path of [...paths, `${root}-sibling`, `${root}/../secret/key`, dir, '/']) {
    assert.equal(fails({ path }), 'fs.outside_roots', path);
  }
});

test('[BRG-03] a symlink out of the roots is refused, and one inside them is followed', (t) => {
  const { root, secret, read, fails } = world(t);
  symlinkSync(join(secret, 'key'), join(root, 'out'));
  symlinkSync(secret, join(root, 'outdir'));
  symlinkSync('/etc/passwd', join(root, 'absolute'));
  symlinkSync('../../secret/key', join(root, 'sub', 'relative'));
  symlinkSync('out', join(root, 'twice'));
  for (const path of ['out', 'outdir/key', 'outdir/none', 'absolute', 'sub/relative', 'twice']) {
    assert.equal(fails({ path }), 'fs.outside_roots', path);
  }
  symlinkSync('../hello.txt', join(root, 'sub', 'inside'));
  assert.equal(read({ path: 'sub/inside' }).path, join(root, 'hello.txt'));
  symlinkSync('loop', join(root, 'loop'));
  assert.equal(fails({ path: 'loop' }), 'fs.not_found');
});

test('a root may itself be a symlink', (t) => {
  const { dir, root } = world(t);
  symlinkSync(root, join(dir, 'alias'));
  const result = callRead(openRoots([join(dir, 'alias')]), { path: 'hello.txt' }, LIMITS);
  assert.equal(result.structuredContent?.path, join(root, 'hello.txt'));
});

test('[BRG-03] a symlink swapped during a read never reveals the secret', async (t) => {
  const { root, secret, call } = world(t);
  // The file and a directory above it switch between inside and outside as fast as possible.
  const script = `
    const fs = require('node:fs');
    const [root, secret] = process.argv.slice(1);
    const swap = (name, target) => { fs.symlinkSync(target, name + '.new'); fs.renameSync(name + '.new', name); };
    fs.mkdirSync(root + '/inside'); fs.writeFileSync(root + '/inside/key', 'public');
    for (let n = 0; ; n++) {
      swap(root + '/file', n % 2 ? secret + '/key' : root + '/inside/key');
      swap(root + '/dir', n % 2 ? root + '/inside' : secret);
      if (n === 1) process.stdout.write('swapping');
    }`;
  const child = spawn(process.execPath, ['-e', script, root, secret]);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const seen = new Map<unknown, number>();
  for (let n = 0; n < 20_000; n++) {
    const result = call({ path: n % 2 === 0 ? 'file' : 'dir/key' });
    const told = result.structuredContent?.content ?? result.structuredContent?.errorId;
    seen.set(told, (seen.get(told) ?? 0) + 1);
  }
  child.kill('SIGKILL');
  await exited;
  assert.deepEqual([...seen.keys()].sort(), ['fs.outside_roots', 'public']);
});

test('[BRG-03] only regular files are read, and other kinds never block', async (t) => {
  const { root, fails } = world(t);
  execFileSync('mkfifo', [join(root, 'fifo')]);
  assert.equal(fails({ path: 'fifo' }), 'fs.not_regular');
  assert.equal(fails({ path: 'sub' }), 'fs.not_regular');
  assert.equal(fails({ path: '.' }), 'fs.not_regular');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(root, 'socket'), resolve));
  assert.equal(fails({ path: 'socket' }), 'fs.not_regular');
  await new Promise((resolve) => server.close(resolve));
  const device = callRead(openRoots(['/dev']), { path: '/dev/zero' }, LIMITS);
  assert.equal(device.structuredContent?.errorId, 'fs.not_regular');
});

test('a deleted file, a missing one and one without permission are not found', (t) => {
  const { root, fails } = world(t);
  rmSync(join(root, 'hello.txt'));
  assert.equal(fails({ path: 'hello.txt' }), 'fs.not_found');
  assert.equal(fails({ path: 'none/such' }), 'fs.not_found');
  assert.equal(fails({ path: 'x'.repeat(4000) }), 'fs.not_found');
  writeFileSync(join(root, 'closed'), 'x');
  chmodSync(join(root, 'closed'), 0);
  // Root may read everything.
  if (getuid?.() !== 0) assert.equal(fails({ path: 'closed' }), 'fs.not_found');
});

test('a hard link inside a root counts as a file of the root', (t) => {
  const { root, read } = world(t);
  linkSync(join(root, 'hello.txt'), join(root, 'sub', 'hard'));
  assert.equal(read({ path: 'sub/hard' }).content, 'hello');
});

test('[BRG-03] only the requested range of a sparse 10 GB file is read', (t) => {
  const { root, read } = world(t);
  writeFileSync(join(root, 'huge'), '');
  const size = 10 * 1024 ** 3;
  truncateSync(join(root, 'huge'), size);
  const before = process.memoryUsage().rss;
  const result = read({ path: 'huge', offset: size - 2000 });
  assert.deepEqual([result.length, result.size, result.truncated], [1000, size, true]);
  assert.ok(process.memoryUsage().rss - before < 256 * 1024 * 1024);
});

test('invalid arguments are refused, and the field is named', (t) => {
  const { call, fails } = world(t);
  const bad: Record<string, Record<string, unknown>> = {
    path: { path: 'a\0b' },
    offset: { path: 'hello.txt', offset: -1 },
    length: { path: 'hello.txt', length: 0 },
    encoding: { path: 'hello.txt', encoding: 'utf-16' },
    mode: { path: 'hello.txt', mode: 'w' },
  };
  for (const [field, args] of Object.entries(bad)) {
    assert.equal(fails(args), 'tool.arguments_invalid', field);
    assert.match(String(call(args).structuredContent?.message), new RegExp(`^${field}: `));
  }
  for (const path of [undefined, 7, '', null]) {
    assert.equal(fails({ path }), 'tool.arguments_invalid');
  }
});

test('a root must be a directory', (t) => {
  const { root } = world(t);
  assert.throws(() => openRoots([]), { id: 'config.invalid' });
  assert.throws(() => openRoots([join(root, 'hello.txt')]), { id: 'config.invalid' });
  assert.throws(() => openRoots([join(root, 'none')]), { id: 'config.invalid' });
});
