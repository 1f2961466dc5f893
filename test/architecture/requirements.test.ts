import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readSources } from './sources.ts';

interface Requirement {
  readonly title: string;
  readonly state: 'planned' | 'partial' | 'done';
  /** What a partial requirement lacks. */
  readonly missing?: string;
  /** Titles, or beginnings of titles, of the tests that prove it. */
  readonly tests?: readonly string[];
}

const requirements: Record<string, Requirement> = JSON.parse(
  readFileSync('docs/requirements.json', 'utf8'),
);
/** How many ids each group has; numbers are never reused, so they run from 1. */
const GROUPS: Readonly<Record<string, number>> = {
  HOST: 14,
  PROV: 6,
  TOOL: 7,
  POL: 8,
  RED: 2,
  AUD: 5,
  RLY: 8,
  BRG: 8,
  OBS: 6,
  MEM: 3,
  PRM: 1,
  KRN: 3,
  MXP: 3,
  WRK: 3,
  WSP: 1,
  DAT: 1,
  LOC: 1,
  OPS: 9,
  CLI: 4,
  SLO: 5,
};
const TITLE_PATTERN = /\b(?:test|it)\(\s*(['"`])((?:\[[A-Z]{3,4}-\d\d\]\s*)+[^\n]*?)\1/g;
const titles = readSources()
  .filter((source) => source.path.endsWith('.test.ts'))
  .flatMap((source) => [...source.text.matchAll(TITLE_PATTERN)].map((match) => match[2] ?? ''));
const named = titles.flatMap((title) =>
  [...title.matchAll(/\[([A-Z]{3,4}-\d\d)\]/g)].map((m) => m[1]),
);

test('docs/requirements.json lists every requirement, each with a title', () => {
  const expected = Object.entries(GROUPS).flatMap(([group, count]) =>
    Array.from({ length: count }, (_, index) => `${group}-${String(index + 1).padStart(2, '0')}`),
  );
  assert.equal(expected.length, 98);
  assert.deepEqual(Object.keys(requirements).sort(), expected.sort());
  for (const [id, { title }] of Object.entries(requirements))
    assert.match(title, /^\S.{3,99}$/, id);
});

test('test titles name only requirements that exist', () => {
  assert.ok(titles.length > 0, 'no title was found, so the pattern is wrong');
  assert.deepEqual(
    named.filter((id) => !(id !== undefined && id in requirements)),
    [],
  );
});

test('every requirement has a known state, and a partial one says what it lacks', () => {
  for (const [id, { state, missing }] of Object.entries(requirements)) {
    assert.match(state, /^(planned|partial|done)$/, id);
    assert.equal(missing !== undefined, state === 'partial', id);
  }
});

test('a done or partial requirement is named by a test and cites only tests that exist', () => {
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
