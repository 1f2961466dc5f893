import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isTest, readSources, resolveImport, type Source } from './sources.ts';

const sources = readSources();
const product = sources.filter(
  (source) => /^(packages|services)\//.test(source.path) && !isTest(source),
);

/** Innermost first. A file may import from its own layer and from those before it. */
const layers = ['ports', 'domain', 'adapters and rpc', 'app', 'main'] as const;

function layerOf(path: string): number | undefined {
  const inside = /^services\/(?:model-host|tool-relay|device-bridge)\/src\/(.+)$/.exec(path)?.[1];
  if (inside === undefined) return undefined;
  if (inside === 'main.ts') return 4;
  if (inside === 'app.ts' || inside.startsWith('app/')) return 3;
  if (/^((adapters|rpc)\/|metrics\.ts$)/.test(inside)) return 2;
  if (inside === 'ports.ts') return 0;
  // config.ts too: compiled settings are the domain's own words.
  return 1;
}

function importedFiles(source: Source): string[] {
  return filesOf(source, source.imports);
}

function filesOf(source: Source, specifiers: readonly string[]): string[] {
  return specifiers.flatMap((specifier) => resolveImport(source, specifier) ?? []);
}

test('a service imports inwards only: main, app, rpc and adapters, domain, ports', () => {
  const wrong = product.flatMap((source) => {
    const own = layerOf(source.path);
    if (own === undefined) return [];
    return importedFiles(source)
      .filter((path) => (layerOf(path) ?? 0) > own)
      .map((path) => `${source.path} (${layers[own]}) imports ${path}`);
  });
  assert.deepEqual(wrong, []);
});

/** Contracts belong to everyone: schemas are imported as they lie. */
function isWithin(home: string, path: string | undefined): boolean {
  return path === undefined || path.startsWith(home) || path.startsWith('contracts/');
}

test('services never import each other, and packages never import services', () => {
  const wrong = product.flatMap((source) => {
    const own = /^(?:packages|services)\/[^/]+\//.exec(source.path)?.[0] ?? '';
    return source.imports
      .filter(
        (specifier) =>
          /^@zerolatency\/(model-host|tool-relay|device-bridge|cli)\b/.test(specifier) ||
          !isWithin(own, resolveImport(source, specifier)),
      )
      .map((specifier) => `${source.path} imports ${specifier}`);
  });
  assert.deepEqual(wrong, []);
});

test('a workspace imports only packages that its package.json names', () => {
  const wrong = product.flatMap((source) => {
    const home = source.path.split('/').slice(0, 2).join('/');
    const { name, dependencies = {} } = JSON.parse(readFileSync(`${home}/package.json`, 'utf8'));
    return source.imports
      .filter((specifier) => !/^(\.|node:)/.test(specifier))
      .map((specifier) => /^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)?.[0] ?? specifier)
      .filter((dependency) => dependency !== name && !(dependency in dependencies))
      .map((dependency) => `${source.path} imports ${dependency}`);
  });
  assert.deepEqual(wrong, []);
});

test('every dependency that a package.json names is imported somewhere', () => {
  const homes = new Set(product.map((source) => source.path.split('/').slice(0, 2).join('/')));
  const idle = [...homes].flatMap((home) => {
    const { dependencies = {} } = JSON.parse(readFileSync(`${home}/package.json`, 'utf8'));
    const imported = sources
      .filter((source) => source.path.startsWith(`${home}/`))
      .flatMap((source) => source.imports);
    return (
      Object.keys(dependencies)
        .filter((name) => !imported.some((i) => i === name || i.startsWith(`${name}/`)))
        // The generated code imports it; we do not write that.
        .filter((name) => `${home} ${name}` !== 'packages/proto @bufbuild/protobuf')
        .map((name) => `${home} names ${name}`)
    );
  });
  assert.deepEqual(idle, []);
});

test('no file imports itself by way of others', () => {
  const byPath = new Map(product.map((source) => [source.path, source]));
  const finished = new Set<string>();
  const walk = (path: string, trail: readonly string[]): string[] => {
    if (trail.includes(path)) return [[...trail.slice(trail.indexOf(path)), path].join(' -> ')];
    const source = byPath.get(path);
    if (source === undefined || finished.has(path)) return [];
    const cycles = filesOf(source, source.runtimeImports).flatMap((next) =>
      walk(next, [...trail, path]),
    );
    finished.add(path);
    return cycles;
  };
  assert.deepEqual(
    product.flatMap((source) => walk(source.path, [])),
    [],
  );
});

test('only main.ts of a service, and programs, touch the process', () => {
  // A program that a service starts is a main of its own; a lock must name its own process, one process asks for another, and a group is killed as one.
  const allowed = /(^|\/)(main\.ts$|fs-server\.ts$|service\/src\/processes\/|process-group\.ts$)/;
  const wrong = product.filter(
    (source) =>
      !allowed.test(source.path) &&
      /\bprocess\.(env|argv|exit|on|stdout|stderr|kill)\b|from 'node:process'/.test(source.text),
  );
  assert.deepEqual(
    wrong.map((source) => source.path),
    [],
  );
});
