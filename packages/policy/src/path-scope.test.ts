import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAbsolutePath, pathWithin, startingAt } from './path-scope.ts';

test('a path is within a directory by its whole segments', () => {
  const inside = [
    '/data',
    '/data/',
    '/data/a',
    '/data//a',
    '/data/./a',
    '/data/a.b/c d',
    '/data/.git/~/50%',
  ];
  for (const path of inside) assert.equal(pathWithin(path, ['/data'], 'allow'), 'yes', path);
  for (const path of ['/', '/dat', '/data2', '/data2/a', '/Data/a', '/x/data/a']) {
    assert.equal(pathWithin(path, ['/data'], 'allow'), 'no', path);
  }
  assert.equal(pathWithin('/anything', ['/'], 'allow'), 'yes');
  assert.equal(pathWithin('/b/x', ['/a', '/b/'], 'allow'), 'yes');
});

test('a path that two readers could understand differently is unclear', () => {
  const odd: unknown[] = [
    ...['', '.', 'data/a', './data', '~/data', 'file:///data/a', '//server/data'],
    ...['/data/..', '/data/../etc', '/../data', '/data/a/../b'],
    ...['/data/%2e%2e/etc', '/data/%2E./etc', '/data%2fa', '/data/%252e', '/data/a%00'],
    ...['/data/a\0', '/data/a\n', '/data/\u007f', '/data\\..\\etc', '/data/\ud800'],
    ...['/data/\uff0e\uff0e/etc', '/data/a\uff0fb', '/data/\u2025/etc'],
    ...['C:data', 'C:\\data\\..\\x', 'C:/data/a:stream', 'C:/data/a.', 'C:/data /x', 'C:/PROGRA~1'],
    ...['/data/a%20b', '/data/50%41', '/data/a.', '/data/a /x', '/data/...', '/data/a\u00a0'],
    ...['/data/SALARI~1', '/data/salari~1/x', '/data/\uff05\uff12\uff10', '/data/a\uff0e'],
    ...['/data/a\u2044b', '/data/a\u2215b', '/data/a\u29f8b', '/data/a\u2216b', '/data/a\ufe68b'],
    ...['/data/.\u200c./etc', '/data/\u200c/etc', '\\data', 'D:data'],
    ...['\\\\server\\share', '\\\\?\\C:\\data', `/${'a'.repeat(5000)}`],
    ...[undefined, null, 7, true, {}, ['/data/a'], { toString: () => '/data/a' }],
  ];
  for (const path of odd) {
    assert.equal(pathWithin(path, ['/data', 'C:/data'], 'allow'), 'unclear', JSON.stringify(path));
    assert.equal(pathWithin(path, ['/data'], 'deny'), 'unclear', JSON.stringify(path));
  }
});

test('a path may have 4,096 characters', () => {
  const longest = `/data/${'a'.repeat(4_090)}`;
  assert.equal(pathWithin(longest, ['/data'], 'allow'), 'yes');
  assert.equal(pathWithin(`${longest}a`, ['/data'], 'allow'), 'unclear');
});

test('drives are read with either separator', () => {
  assert.equal(pathWithin('C:\\Users\\a\\b', ['c:/Users/a'], 'allow'), 'yes');
  assert.equal(pathWithin('D:\\Users\\a', ['C:/Users'], 'allow'), 'no');
});

test('a path without a drive may be on the drive of a deny rule, and is on that of no allow rule', () => {
  assert.equal(pathWithin('/Users/a', ['C:/Users'], 'deny'), 'yes');
  assert.equal(pathWithin('/Users/a', ['C:/Users'], 'allow'), 'no');
  assert.equal(pathWithin('/srv/a', ['C:/Users'], 'deny'), 'no');
});

test('a relative path starts at its base, and any other path stays as it is', () => {
  const relative = ['a', './a', '', 'a/../b', 'C/x', '.~/a'];
  for (const path of relative) assert.equal(startingAt('/data', path), `/data/${path}`);
  const rooted = ['/a', '//a', '\\a', '\\\\server\\a', 'C:a', 'C:\\a', '~/a', '~root/a', 7, null];
  for (const path of rooted) assert.equal(startingAt('/data', path), path);
  const within = (path: string) => pathWithin(startingAt('/data', path), ['/data/a'], 'deny');
  assert.deepEqual(['b', 'a', 'A/x', '../data/a', '~/a'].map(within), [
    'no',
    'yes',
    'yes',
    'unclear',
    'unclear',
  ]);
});

test('a deny rule catches spellings that a file system may take for the same', () => {
  const spellings = ['/DATA/x', '/Data', '/ＤＡＴＡ/x', '/da\u200cta/x', '/data/x'];
  for (const path of spellings) assert.equal(pathWithin(path, ['/data'], 'deny'), 'yes', path);
  assert.equal(pathWithin('/re\u0301sume\u0301', ['/R\u00e9sum\u00e9'], 'deny'), 'yes');
  assert.equal(pathWithin('/re\u0301sume\u0301', ['/r\u00e9sum\u00e9'], 'allow'), 'no');
});

const segment = fc.constantFrom('data', 'DATA', 'etc', '..', '.', '', '...', 'a b', '%2e%2e', '\\');
const path = fc.array(segment, { maxLength: 6 }).map((segments) => `/${segments.join('/')}`);

test('an allowed path resolves to a place inside, however it is resolved', () => {
  fc.assert(
    fc.property(path, (text) => {
      if (pathWithin(text, ['/data'], 'allow') !== 'yes') return;
      for (const read of [text, decodeURIComponent(text), text.replaceAll('\\', '/')]) {
        assert.match(`${posix.resolve(read)}/`, /^\/data\//);
      }
    }),
  );
});

test('a deny rule applies wherever an allow rule for the same directories would', () => {
  fc.assert(
    fc.property(path, (text) => {
      if (pathWithin(text, ['/data'], 'allow') === 'yes') {
        assert.equal(pathWithin(text, ['/data'], 'deny'), 'yes');
      }
    }),
  );
});

test('any text is parsed or unclear, and never throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const parsed = parseAbsolutePath(text);
      assert.ok(parsed === undefined || !parsed.segments.includes('..'));
    }),
  );
});
