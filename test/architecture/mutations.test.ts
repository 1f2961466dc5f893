import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CRITICAL } from '../../scripts/mutate/critical-files.ts';
import { EQUIVALENT, isEquivalent } from '../../scripts/mutate/equivalent.ts';
import { mutated, mutationsOf } from '../../scripts/mutate/mutations.ts';

test('the critical files and the tests that guard them exist', () => {
  for (const { files, tests } of CRITICAL) {
    assert.ok(globSync(files).length > 0, files);
    for (const pattern of tests) assert.ok(globSync(pattern).length > 0, pattern);
  }
});

test('each change that is called equivalent is one of a critical file', () => {
  const critical = new Set(CRITICAL.flatMap(({ files }) => globSync(files)));
  for (const { file, line, change } of EQUIVALENT) {
    assert.ok(critical.has(file), file);
    const source = readFileSync(file, 'utf8');
    const [before] = change;
    const isFound = mutationsOf(file, source).some(
      (found) =>
        source.slice(found.start, found.end) === before && isEquivalent(file, source, found),
    );
    assert.ok(isFound, `${file}: ${line}`);
  }
});

const CHANGES: Readonly<Record<string, readonly string[]>> = {
  'x = a < b && c;': ['{}', 'x = a < b || c;', 'x = a <= b && c;'],
  'x += a + 1;': ['{}', 'x -= a + 1;', 'x += a - 1;'],
  "x = 'a' + b;": ['{}'],
  'if (a === b) f();': ['if (true) f();', 'if (false) f();', 'if (a === b) {}'],
  'log.info({}, f()); this.#metrics.calls.inc();': [],
  'async () => { await f(); };': ['{}', 'async () => { {} };', 'async () => { f(); };'],
  'function f() { return !a; }': [
    'function f() { return undefined; }',
    'function f() { return a; }',
  ],
  'function f() { return true; }': ['function f() { return false; }'],
  'for (;; n++) if (!n) continue;': [
    'for (;; n--) if (!n) continue;',
    ...['true', 'false', 'n'].map((test) => `for (;; n++) if (${test}) continue;`),
  ],
};

for (const [source, expected] of Object.entries(CHANGES)) {
  test(`mutates ${source}`, () => {
    const found = mutationsOf('a.ts', source).map((mutation) => mutated(source, mutation));
    assert.deepEqual(found.toSorted(), expected.toSorted());
  });
}
