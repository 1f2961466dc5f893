import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { type NameKind, namePattern, parseName } from './names.ts';

const KINDS: NameKind[] = ['tenant', 'device', 'session', 'user', 'server', 'tool'];
const CONTRACTS = join(import.meta.dirname, '../../../contracts');

test('names that identity providers, operators and MCP servers give are accepted', () => {
  const accepted: Record<NameKind, string[]> = {
    tenant: ['north', 'org_2x9', 'acme.example', '6f1c2d9e-3a5b-4c7d-8e9f-0a1b2c3d4e5f'],
    device: ['laptop', 'LAPTOP-7F3K', 'aa:bb:cc:dd:ee:ff', 'anna@desk', 'x'.repeat(128)],
    session: ['0'.repeat(32), 'support_4711'],
    user: ['anna@example.com', 'auth0|5f7c', '-kqFVrSa_SaFHy7=', 'urn:x:y', 'x'.repeat(255)],
    server: ['fs', '1password', 'git-hub_2'],
    tool: ['read', 'getWeather', 'admin.tools.list', 'DATA_EXPORT_v2', 'x'.repeat(128)],
  };
  for (const kind of KINDS) {
    for (const name of accepted[kind]) assert.deepEqual(parseName(kind, name), { value: name });
  }
});

test('what is not a name is refused, and the error says how a name reads', () => {
  for (const kind of KINDS) {
    for (const value of ['', ' a', 'a b', 'a\n', 'a\0', '../a', 'ä', 'x'.repeat(256), 7, null]) {
      const { error = '' } = parseName(kind, value);
      assert.match(error, new RegExp(`^is not a ${kind} name: up to \\d+`), `${kind} ${value}`);
    }
  }
  assert.ok(parseName('server', 'Fs').error, 'upper case');
  assert.ok(parseName('server', 'a.b').error, 'a dot');
  assert.ok(parseName('tool', 'a/b').error, 'a slash');
});

test('a name fits into a line, a file name and a shell word as it stands', () => {
  const kinds = KINDS.filter((kind) => kind !== 'user');
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.string({ unit: 'binary' }), (kind, text) => {
      const { value } = parseName(kind, text);
      if (value === undefined) return;
      assert.equal(value, text);
      assert.match(value, /^[\x21-\x7e]{1,128}$/);
      assert.doesNotMatch(value, /^[.-]|[\s/\\'"`$&|;<>*?(){}[\]!#~%^,+=]/);
    }),
    { numRuns: 2000 },
  );
});

test('a generated name is accepted, and refused with any character that is not of its grammar', () => {
  const named = fc
    .constantFrom(...KINDS)
    .chain((kind) => fc.tuple(fc.constant(kind), fc.stringMatching(new RegExp(namePattern(kind)))));
  fc.assert(
    fc.property(
      named,
      fc.nat(),
      fc.constantFrom(' ', '\n', 'ß', '*', '\0'),
      ([kind, name], at, odd) => {
        assert.equal(parseName(kind, name).value, name);
        const cut = at % (name.length + 1);
        assert.ok(parseName(kind, name.slice(0, cut) + odd + name.slice(cut)).error);
      },
    ),
  );
});

test('server and tool are divided by the first dot of a full name', () => {
  const pair = fc.tuple(
    fc.stringMatching(new RegExp(namePattern('server'))),
    fc.stringMatching(new RegExp(namePattern('tool'))),
  );
  fc.assert(
    fc.property(pair, ([server, tool]) => {
      const name = `${server}.${tool}`;
      const dot = name.indexOf('.');
      assert.deepEqual([name.slice(0, dot), name.slice(dot + 1)], [server, tool]);
    }),
  );
});

test('the JSON Schemas have the same grammars', () => {
  const bundle = readSchema('policy/bundle.schema.json').$defs;
  const { tenant, device } = bundle.deviceName.properties;
  assert.equal(tenant.pattern, namePattern('tenant'));
  assert.equal(device.pattern, namePattern('device'));
  assert.equal(bundle.tenants.items.pattern, namePattern('tenant'));
  assert.equal(bundle.users.items.pattern, namePattern('user'));
  assert.equal(bundle.devices.items.pattern, namePattern('device'));
  const manifest = readSchema('policy/manifest.schema.json').$defs;
  assert.equal(manifest.serverName.pattern, namePattern('server'));
  const { effects } = manifest.commandServer.properties;
  assert.equal(effects.propertyNames.pattern, namePattern('tool'));
  const fullName = `${namePattern('server').slice(0, -1)}\\.${namePattern('tool').slice(1)}`;
  assert.equal(readSchema('tools/manifest.schema.json').properties.name.pattern, fullName);
});

function readSchema(file: string) {
  return JSON.parse(readFileSync(join(CONTRACTS, file), 'utf8'));
}
