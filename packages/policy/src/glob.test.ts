import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchesGlob } from './decide.ts';

test('a star stands for any run of characters, and nothing else is special', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 8 });
  fc.assert(
    fc.property(text, text, (pattern, name) => {
      const source = pattern.replaceAll('.', '\\.').replaceAll('*', '.*');
      assert.equal(matchesGlob(pattern, name), new RegExp(`^${source}$`, 's').test(name));
    }),
    { numRuns: 3000 },
  );
});

test('a tool matches its own name, its server and the star', () => {
  for (const glob of ['fs.read', 'fs.*', '*.read', '*', 'f*d', '**']) {
    assert.ok(matchesGlob(glob, 'fs.read'), glob);
  }
  for (const glob of ['fs', 'fs.', 'fs.rea', 'FS.read', 'fs.read.*', 'x*', '', 'fs.read*d']) {
    assert.equal(matchesGlob(glob, 'fs.read'), false, glob);
  }
});

test('a hostile pattern is not slow', () => {
  const pattern = `${'a*'.repeat(2000)}b`;
  const text = 'a'.repeat(20_000);
  assert.equal(matchesGlob(pattern, text), false);
});
