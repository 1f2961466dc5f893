import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readSources } from './sources.ts';

interface Requirement {
  readonly state: 'planned' | 'partial' | 'done';
  /** Titles, or beginnings of titles, of the tests that prove it. */
  readonly tests?: readonly string[];
}

const requirements: Record<string, Requirement> = JSON.parse(
  readFileSync('docs/requirements.json', 'utf8'),
);
const titlePattern = /\b(?:test|it)\(\s*(['"`])((?:\[[A-Z]{3,4}-\d\d\]\s*)+[^\n]*?)\1/g;
const titles = readSources()
  .filter((source) => source.path.endsWith('.test.ts'))
  .flatMap((source) => [...source.text.matchAll(titlePattern)].map((match) => match[2] ?? ''));
const named = titles.flatMap((title) =>
  [...title.matchAll(/\[([A-Z]{3,4}-\d\d)\]/g)].map((m) => m[1]),
);

test('the titles of tests name only requirements that exist', () => {
  assert.ok(titles.length > 0, 'no title was found, so the pattern is wrong');
  assert.deepEqual(
    named.filter((id) => !(id !== undefined && id in requirements)),
    [],
  );
});

test('every requirement has a known state', () => {
  for (const [id, { state }] of Object.entries(requirements)) {
    assert.match(state, /^(planned|partial|done)$/, id);
  }
});

test('a requirement that is done or partial has a test that says so, and lists tests that exist', () => {
  for (const [id, { state, tests = [] }] of Object.entries(requirements)) {
    if (state === 'planned') continue;
    assert.ok(named.includes(id), `${id} is ${state}, and no test names it`);
    assert.ok(tests.length > 0 || state === 'partial', `${id} is done and lists no tests`);
    for (const wanted of tests) {
      assert.ok(
        titles.some((title) => title.startsWith(wanted)),
        `${id} lists "${wanted}"`,
      );
    }
  }
});
