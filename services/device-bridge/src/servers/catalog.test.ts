import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBinary } from '@bufbuild/protobuf';
import { CatalogSchema, Containment, Effects } from '@zerolatency/proto/bridge';
import { catalogOf, offeredTools } from './catalog.ts';
import type { ManagedServer } from './managed-server.ts';

const tool = (name: string, more: object = {}) => ({
  name,
  description: '',
  needsTask: false,
  inputSchema: { type: 'object' as const },
  ...more,
});

test('a tool is offered with its canonical schema, and its digest covers all of it', () => {
  const { tools, refused } = offeredTools([
    tool('a', { inputSchema: { type: 'object', properties: { b: {}, a: {} } } }),
  ]);
  assert.deepEqual(refused, []);
  assert.equal(tools.get('a')?.inputSchemaJson, '{"properties":{"a":{},"b":{}},"type":"object"}');
  const digests = [tool('a'), tool('b'), tool('a', { description: 'x' })].map((each) => {
    const [offered] = offeredTools([each]).tools.values();
    return Buffer.from(offered!.digest).toString('hex');
  });
  assert.equal(new Set(digests).size, 3);
});

test('a tool with a bad name, a taken one, or too much text is left out whole', () => {
  const { tools, refused } = offeredTools([
    tool('good'),
    tool('good', { description: 'a second one' }),
    tool(''),
    tool('no spaces'),
    tool('x'.repeat(200)),
    tool('long', { description: 'x'.repeat(10_000) }),
    tool('wide', { inputSchema: { type: 'object', title: 'x'.repeat(40_000) } }),
  ]);
  assert.deepEqual([...tools.keys()], ['good']);
  assert.equal(tools.get('good')?.description, '');
  assert.equal(refused.length, 6);
});

test('a tool that can only be called as a task is not offered', () => {
  const { tools, refused } = offeredTools([tool('good'), tool('batch', { needsTask: true })]);
  assert.deepEqual([...tools.keys()], ['good']);
  assert.deepEqual(refused, [{ tool: 'batch', why: 'it can only be called as a task' }]);
});

test('a catalog stays below the bound of a relay, whatever script its schemas are in', () => {
  const given = Array.from({ length: 12 }, (_, n) =>
    tool(`t${n}`, { inputSchema: { type: 'object', title: '字'.repeat(10_000) } }),
  );
  const { tools } = offeredTools(given);
  assert.equal(tools.size, 12);
  const state = { name: 'ready', connection: { serverVersion: '1.0.0' }, tools };
  const pathBases = () => ({ path: '/data' });
  const effects = () => 'local';
  const server = { spec: { name: 'fs' }, state, pathBases, effects } as unknown as ManagedServer;
  const catalog = catalogOf([server]);
  assert.deepEqual(catalog.servers[0]!.tools[0]!.pathBases, { path: '/data' });
  assert.equal(catalog.servers[0]!.tools[0]!.effects, Effects.LOCAL);
  assert.equal(catalog.servers[0]!.tools.length, 8);
  assert.ok(toBinary(CatalogSchema, catalog).length < 256 * 1024);
});

test('[BRG-02] a server that offers too much leaves the tools of other servers in the catalog', () => {
  const serverOf = (name: string, count: number) => {
    const description = 'x'.repeat(8 * 1024);
    const offered = Array.from({ length: count }, (_, at) => tool(`tool-${at}`, { description }));
    const { tools } = offeredTools(offered);
    const state = { name: 'ready', connection: { serverVersion: '1.0.0' }, tools };
    const effects = () => 'none';
    return { spec: { name }, state, pathBases: () => ({}), effects } as unknown as ManagedServer;
  };
  const catalog = catalogOf([
    serverOf('greedy', 100),
    serverOf('modest', 3),
    serverOf('large', 20),
  ]);
  const counts = catalog.servers.map(({ name, tools }) => [name, tools.length]);
  assert.deepEqual(counts, [
    ['greedy', 13],
    ['modest', 3],
    ['large', 13],
  ]);
});

test('[BRG-02] a catalog says how each server is contained, while it runs', () => {
  const connection = { serverVersion: '' };
  const ready = { name: 'ready', connection, tools: new Map() };
  const servers = [
    { spec: { name: 'a' }, state: { ...ready, containment: 'sandbox' } },
    { spec: { name: 'b', unpinned: true }, state: { ...ready, containment: 'process group' } },
    { spec: { name: 'c', unpinned: true }, state: { name: 'failed' } },
  ] as unknown as ManagedServer[];
  assert.deepEqual(
    catalogOf(servers).servers.map(({ containment, isUnpinned }) => [containment, isUnpinned]),
    [
      [Containment.SANDBOX, false],
      [Containment.PROCESS_GROUP, true],
      [Containment.UNSPECIFIED, true],
    ],
  );
});
