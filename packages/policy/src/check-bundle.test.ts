import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allow, DAY_MS, deny, NOW, sampleBundle } from '../test/sample-bundle.ts';
import { checkBundle } from './check-bundle.ts';

function fault(value: unknown): string {
  const checked = checkBundle(value);
  assert.ok('error' in checked, 'the bundle was accepted');
  assert.equal(checked.error.id, 'policy.invalid');
  return checked.error.message;
}

function faultOfRule(rule: object): string {
  return fault({ ...sampleBundle(), rules: [rule] });
}

test('a bundle with every kind of rule is accepted', () => {
  const rules = [
    allow({
      description: 'Working hours only.',
      versions: '^1.2 || ~2.0',
      tenants: ['north'],
      roles: ['user'],
      users: ['user-1'],
      devices: ['laptop'],
      hours: { from: '22:00', to: '06:00', days: ['mon'], timeZone: 'Europe/Berlin' },
      paths: { argument: 'path', within: ['/data', 'C:\\Users'] },
      caps: { timeoutMs: 1000, maxBytes: 1024, callsPerTurn: 3 },
      duringGrace: true,
    }),
    deny(),
  ];
  assert.ok('bundle' in checkBundle(sampleBundle({ rules, graceMs: 1000 })));
  assert.ok('bundle' in checkBundle(sampleBundle({ rules: [] })));
});

test('a field that is missing, unknown or of another kind is named', () => {
  const { expiresAt: _, ...withoutExpiry } = sampleBundle();
  assert.match(fault(withoutExpiry), /expiresAt/);
  assert.match(fault({ ...sampleBundle(), schema: 'zerolatency.policy/v2' }), /schema/);
  assert.match(fault({ ...sampleBundle(), version: 0 }), /version/);
  assert.match(fault({ ...sampleBundle(), version: 1.5 }), /version/);
  assert.match(fault({ ...sampleBundle(), id: 'Default!' }), /id/);
  assert.match(faultOfRule({ ...allow(), tool: 'fs.read' }), /tool/);
  assert.match(faultOfRule({ ...allow(), tools: [] }), /tools/);
  assert.match(faultOfRule({ ...allow(), effect: 'maybe' }), /effect/);
  assert.match(faultOfRule({ ...allow(), tenants: [] }), /tenants/);
  assert.match(faultOfRule({ ...allow(), caps: { maxBytes: -1 } }), /maxBytes/);
  assert.match(faultOfRule({ ...allow(), hours: { from: '9:00', to: '24:00' } }), /hours/);
  for (const value of [null, 7, 'text', [], {}]) fault(value);
});

test('what a schema cannot say is checked too', () => {
  assert.match(fault(sampleBundle({ rules: [allow(), allow()] })), /read: another rule/);
  assert.match(faultOfRule(allow({ versions: 'newest' })), /"newest" is no semver range/);
  const hours = { from: '09:00', to: '17:00', timeZone: 'Mars/Olympus' };
  assert.match(faultOfRule(allow({ hours })), /is no time zone/);
  assert.match(faultOfRule(allow({ hours: { from: '09:00', to: '09:00' } })), /are the same/);
  for (const path of ['data', '/data/../etc', '/data/%2e%2e']) {
    const paths = { argument: 'path', within: ['/ok', path] };
    assert.match(faultOfRule(allow({ paths })), /is not a plain absolute path/);
  }
  assert.match(faultOfRule(deny({ caps: { maxBytes: 1 } })), /no use for caps/);
  assert.match(faultOfRule(deny({ duringGrace: true })), /always holds/);
});

test('[POL-02] a bundle lives 31 days at the most', () => {
  const until = (ms: number) => new Date(NOW + ms).toISOString();
  assert.ok('bundle' in checkBundle(sampleBundle({ expiresAt: until(31 * DAY_MS) })));
  assert.match(fault(sampleBundle({ expiresAt: until(31 * DAY_MS + 1) })), /31 days/);
  assert.match(fault(sampleBundle({ expiresAt: until(0) })), /not after issuedAt/);
  assert.match(fault(sampleBundle({ expiresAt: '2030-02-30T99:00:00Z' })), /no date/);
});
