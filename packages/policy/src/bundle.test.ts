import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDocument } from '@zerolatency/signing';
import { allow, DAY_MS, deny, escalate, NOW, sampleBundle } from '../test/sample-bundle.ts';
import { POLICY_BUNDLE } from './bundle.ts';

function fault(value: unknown): string {
  const checked = checkDocument(POLICY_BUNDLE, value);
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
    deny({ when: { language: 'cedar', source: 'permit(principal, action, resource);' } }),
    escalate({ egress: ['*.example.com', 'example.org:443'], caps: { maxBytes: 1 } }),
  ];
  const revokedDevices = [{ tenant: 'north', device: 'laptop' }];
  const previousDigest = `sha256:${'0'.repeat(64)}` as const;
  const grown = sampleBundle({ rules, revokedDevices, previousDigest });
  assert.ok('content' in checkDocument(POLICY_BUNDLE, grown));
  assert.ok('content' in checkDocument(POLICY_BUNDLE, sampleBundle({ rules, graceMs: 1000 })));
  assert.ok('content' in checkDocument(POLICY_BUNDLE, sampleBundle({ rules: [] })));
});

test('a field that is missing, unknown or of the wrong type is named', () => {
  const { expiresAt: _, ...withoutExpiry } = sampleBundle();
  assert.match(fault(withoutExpiry), /expiresAt/);
  assert.match(fault({ ...sampleBundle(), schema: 'zerolatency.policy/v0' }), /schema/);
  assert.match(faultOfRule({ ...allow(), egress: ['http://example.com'] }), /egress/);
  assert.match(faultOfRule({ ...allow(), when: { language: 'js', source: '1' } }), /when/);
  assert.match(fault({ ...sampleBundle(), revokedDevices: ['laptop'] }), /revokedDevices/);
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

test('rules that a schema cannot express are checked too', () => {
  assert.match(fault(sampleBundle({ rules: [allow(), allow()] })), /read: another rule/);
  assert.match(faultOfRule(allow({ versions: 'newest' })), /"newest" is not a semver range/);
  const hours = { from: '09:00', to: '17:00', timeZone: 'Mars/Olympus' };
  assert.match(faultOfRule(allow({ hours })), /is not a time zone/);
  assert.match(faultOfRule(allow({ hours: { from: '09:00', to: '09:00' } })), /are the same/);
  const alike = ['/a\uff0fb', '/\uff0e/b', '/\uff0e\uff0e/b'];
  for (const path of ['data', '/data/../etc', '/data/%2e%2e', ...alike]) {
    const paths = { argument: 'path', within: ['/ok', path] };
    assert.match(faultOfRule(allow({ paths })), /is not a plain absolute path/);
  }
  const paths = { argument: 'path', within: ['/\uff21\uff0e\uff21/b'] };
  assert.ok('content' in checkDocument(POLICY_BUNDLE, sampleBundle({ rules: [allow({ paths })] })));
  assert.match(faultOfRule(deny({ caps: { maxBytes: 1 } })), /cannot have caps/);
  assert.match(faultOfRule(deny({ duringGrace: true })), /duringGrace is for allow rules/);
  assert.match(faultOfRule(deny({ egress: [] })), /cannot have egress/);
  assert.match(faultOfRule(escalate({ duringGrace: true })), /duringGrace is for allow rules/);
  assert.match(faultOfRule({ ...allow(), effect: 'escalate' }), /needs approvers/);
  assert.match(faultOfRule(allow({ approvers: { users: ['me'] } })), /escalate rules only/);
});

test('[POL-02] a bundle of a newer schema is refused as newer, and not as malformed', () => {
  const checked = checkDocument(POLICY_BUNDLE, {
    ...sampleBundle(),
    schema: 'zerolatency.policy/v3',
    later: true,
  });
  assert.ok('error' in checked);
  assert.equal(checked.error.reason, 'newer_schema');
  assert.match(checked.error.message, /signed for a newer version.*policy\/v3/);
});

test('[POL-02] a bundle is valid for at most 31 days', () => {
  const until = (ms: number) => new Date(NOW + ms).toISOString();
  assert.ok(
    'content' in checkDocument(POLICY_BUNDLE, sampleBundle({ expiresAt: until(31 * DAY_MS) })),
  );
  assert.match(fault(sampleBundle({ expiresAt: until(31 * DAY_MS + 1) })), /31 days/);
  assert.match(fault(sampleBundle({ expiresAt: until(0) })), /not after issuedAt/);
  assert.match(fault(sampleBundle({ expiresAt: '2030-02-30T99:00:00Z' })), /not a date/);
});
