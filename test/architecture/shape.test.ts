import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isTest, readSources } from './sources.ts';

const sources = readSources();

/** A product file past this wants to be two. */
const maxLines = 400;
const maxTestLines = 500;

test('no file is longer than a person holds in the head', () => {
  const long = sources
    .filter((source) => source.lines > (isTest(source) ? maxTestLines : maxLines))
    .map((source) => `${source.path}: ${source.lines}`);
  assert.deepEqual(long, []);
});

test('no file or folder has a name that says nothing', () => {
  const empty = /(^|\/)(utils?|helpers?|common|misc|types)(\.ts$|\/)/;
  assert.deepEqual(
    sources.map((source) => source.path).filter((path) => empty.test(path)),
    [],
  );
});

test('the lockfile and the tracked configuration name no registry', () => {
  for (const path of ['package-lock.json', '.npmrc', 'package.json']) {
    assert.doesNotMatch(readFileSync(path, 'utf8'), /"resolved": "https?:|registry\s*=/);
  }
});

test('types are escaped nowhere outside tests', () => {
  const escapes = /:\s*any\b|<any>|as any\b|@ts-(ignore|expect-error|nocheck)|as unknown as/;
  const wrong = sources.filter((source) => !isTest(source) && escapes.test(source.text));
  assert.deepEqual(
    wrong.map((source) => source.path).filter((path) => !path.startsWith('test/')),
    [],
  );
});
