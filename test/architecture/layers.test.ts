import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isTest, readSources, resolveImport, type Source } from './sources.ts';

const sources = readSources();
const product = sources.filter(
  (source) => /^(packages|services)\//.test(source.path) && !isTest(source),
);
const inServices = product.filter((source) => layerOf(source.path) !== undefined);

/** Innermost first. A file may import from its own layer and from those before it. */
const LAYERS = ['ports', 'domain', 'adapters and rpc', 'app', 'main'] as const;

function layerOf(path: string): number | undefined {
  const inside = /^services\/(?:model-host|tool-relay|device-bridge)\/src\/(.+)$/.exec(path)?.[1];
  if (inside === undefined) return undefined;
  if (inside === 'main.ts') return 4;
  if (inside === 'app.ts' || inside.startsWith('app/')) return 3;
  if (/^((adapters|rpc|sse)\/|metrics\.ts$)/.test(inside)) return 2;
  if (inside === 'ports.ts') return 0;
  // Any other folder is domain: chat, calls, executors, sessions. So is config.ts: its types are the domain's limits.
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
      .map((path) => `${source.path} (${LAYERS[own]}) imports ${path}`);
  });
  assert.deepEqual(wrong, []);
});

test('no folder imports a file under rpc/, so that another door can stand beside it', () => {
  const wrong = inServices.flatMap((source) => {
    const home = /^services\/[^/]+\/src\//.exec(source.path)?.[0] ?? '';
    const mayImport = new RegExp(`^${home}(rpc/|app\\.ts$|app/)`).test(source.path);
    return importedFiles(source)
      .filter((path) => path.startsWith(`${home}rpc/`) && !mayImport)
      .map((path) => `${source.path} imports ${path}`);
  });
  assert.deepEqual(wrong, []);
});

/** Timers and crypto are not in it: they need no adapter to be tested. */
const IO_MODULES =
  /^(node:(fs|net|http|https|http2|tls|child_process|dgram|dns|worker_threads|sqlite|readline)(\/.*)?|ws|uWebSockets\.js|@connectrpc\/connect-node|@zerolatency\/service\/(files|processes|tls|lifecycle))$/;
/** The MCP server for files is a program of its own, and files are its domain. */
const FILE_SERVER = 'services/device-bridge/src/tools/fs/';

test('a domain imports no I/O: that is what adapters are for', () => {
  const wrong = inServices
    .filter(
      ({ path }) =>
        layerOf(path) === 1 && !path.endsWith('/src/config.ts') && !path.startsWith(FILE_SERVER),
    )
    .flatMap((source) =>
      source.runtimeImports
        .filter((specifier) => IO_MODULES.test(specifier))
        .map((specifier) => `${source.path} imports ${specifier}`),
    );
  assert.deepEqual(wrong, []);
});

/** A package may import those before it, so there are no cycles. */
const PACKAGE_ORDER = [
  'errors',
  'proto',
  'redaction',
  'frame',
  'service',
  'signing',
  'contracts',
  'identity',
  'revocations',
  'receipts',
  'policy',
  'manifest',
  'mcp',
  'ledger',
  'call',
  'testing',
];

test('packages import only packages before them in the stated order', () => {
  const wrong = product.flatMap((source) => {
    const own = /^packages\/([^/]+)\//.exec(source.path)?.[1];
    if (own === undefined) return [];
    assert.ok(PACKAGE_ORDER.includes(own), `${own} has no place in the order`);
    return source.imports.flatMap((specifier) => {
      const other = /^@zerolatency\/([^/]+)/.exec(specifier)?.[1];
      const isBefore =
        other !== undefined && PACKAGE_ORDER.indexOf(other) < PACKAGE_ORDER.indexOf(own);
      return other === undefined || other === own || isBefore
        ? []
        : [`${source.path} imports ${other}`];
    });
  });
  assert.deepEqual(wrong, []);
});

/** Everyone may import contracts. */
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

test('every dependency in a package.json is imported somewhere', () => {
  const homes = new Set(product.map((source) => source.path.split('/').slice(0, 2).join('/')));
  const idle = [...homes].flatMap((home) => {
    const { dependencies = {} } = JSON.parse(readFileSync(`${home}/package.json`, 'utf8'));
    const imported = sources
      .filter((source) => source.path.startsWith(`${home}/`))
      .flatMap((source) => source.imports);
    return (
      Object.keys(dependencies)
        .filter((name) => !imported.some((i) => i === name || i.startsWith(`${name}/`)))
        // Only generated code imports it.
        .filter((name) => `${home} ${name}` !== 'packages/proto @bufbuild/protobuf')
        .map((name) => `${home} names ${name}`)
    );
  });
  assert.deepEqual(idle, []);
});

test('no imports form a cycle', () => {
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

test('only main.ts and programs touch the process', () => {
  // Programs that a service starts have a main of their own; a lock names its process; groups and trees of processes are killed as one.
  const allowed =
    /(^|\/)(main\.ts$|fs-server\.ts$|service\/src\/processes\/|process-(group|tree)\.ts$)/;
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

test('folders are made by makeFolder', () => {
  // Node's recursive mkdir never ends where an existing folder answers ENOENT.
  const recursive = product.filter(({ text }) => /\bmkdir(Sync)?\([^;]*recursive: true/.test(text));
  assert.deepEqual(
    recursive.map(({ path }) => path),
    [],
  );
});
