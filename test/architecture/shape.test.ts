import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { isTest, readSources, resolveImport, type Source } from './sources.ts';

const sources = readSources();

/** A longer file holds two thoughts. */
const MAX_LINES = 400;
const MAX_TEST_LINES = 500;
/** A shorter file with a single importer is half a thought. */
const MIN_LINES = 60;

test('no file is too long to keep in mind', () => {
  const long = sources
    .filter((source) => source.lines > (isTest(source) ? MAX_TEST_LINES : MAX_LINES))
    .map((source) => `${source.path}: ${source.lines}`);
  assert.deepEqual(long, []);
});

const SKELETON = /\/src\/(main|app|config|metrics|ports)\.ts$|\/index\.ts$/;

/** Path of a file to the files that import it statically. */
function importersByFile(): ReadonlyMap<string, readonly Source[]> {
  const importers = new Map<string, Source[]>();
  for (const source of sources) {
    for (const specifier of source.staticImports) {
      const path = resolveImport(source, specifier);
      if (path !== undefined) importers.set(path, [...(importers.get(path) ?? []), source]);
    }
  }
  return importers;
}

test('a small file without a test has more than one importer, or an importer elsewhere', () => {
  const importers = importersByFile();
  const small = sources.filter(
    (source) =>
      /^(packages|services)\/[^/]+\/src\//.test(source.path) &&
      !isTest(source) &&
      source.lines < MIN_LINES &&
      !SKELETON.test(source.path),
  );
  const found = small.flatMap(({ path, lines }) => {
    const [only, ...others] = importers.get(path) ?? [];
    // What index.ts exports has importers in other packages.
    if (only === undefined || others.length > 0 || isTest(only)) return [];
    if (only.path.endsWith('/index.ts')) return [];
    if (dirname(only.path) !== dirname(path)) return [];
    return [`${path} (${lines} lines) belongs into ${only.path}`];
  });
  assert.deepEqual(found, []);
});

test('no file or folder has a meaningless name', () => {
  const meaningless = /(^|\/)(utils?|helpers?|common|misc|types)(\.ts$|\/)/;
  assert.deepEqual(
    sources.map((source) => source.path).filter((path) => meaningless.test(path)),
    [],
  );
});

test('the lockfile and the tracked configuration name no registry', () => {
  for (const path of ['package-lock.json', '.npmrc', 'package.json']) {
    assert.doesNotMatch(readFileSync(path, 'utf8'), /"resolved": "https?:|registry\s*=/);
  }
});

test('only tests escape the type system', () => {
  const escapes = /:\s*any\b|<any>|as any\b|@ts-(ignore|expect-error|nocheck)|as unknown as/;
  const wrong = sources.filter((source) => !isTest(source) && escapes.test(source.text));
  assert.deepEqual(
    wrong.map((source) => source.path).filter((path) => !path.startsWith('test/')),
    [],
  );
});
