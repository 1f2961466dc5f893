import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Bundle, Rule } from './bundle.ts';
import { decide } from './decide.ts';
import { whyNotAllowed, whyNotDenied } from './recorded-call.ts';

const NOON_MS = Date.parse('2026-01-02T12:00:00Z');
const CALL = {
  tool: 'fs.read',
  version: '1.2.0',
  tenant: 'north',
  user: 'ann',
  deviceId: 'laptop',
};
const AT_NOON = { ...CALL, fromMs: NOON_MS, toMs: NOON_MS };
const CAPS = { timeoutMs: 1_000, maxBytes: 1_000, callsPerTurn: 10 };

function bundleOf(...rules: Rule[]): Bundle {
  return {
    schema: 'zerolatency.policy/v1',
    id: 'test',
    version: 1,
    issuedAt: '2026-01-01T00:00:00Z',
    expiresAt: '2026-01-20T00:00:00Z',
    rules,
  };
}

const ALLOW: Rule = { id: 'a', effect: 'allow', tools: ['fs.*'] };
const allowed = (...rules: Rule[]) =>
  whyNotAllowed(bundleOf(...rules), AT_NOON, { caps: CAPS, isStale: false });

test('a recorded call is allowed only by a rule that can have applied', () => {
  assert.equal(allowed(ALLOW), undefined);
  assert.match(allowed() ?? '', /no rule of it allows/);
  for (const other of [
    { users: ['bob'] },
    { tenants: ['south'] },
    { devices: ['phone'] },
    { versions: '>=2' },
  ]) {
    assert.match(allowed({ ...ALLOW, ...other }) ?? '', /no rule of it allows/);
  }
  for (const unknown of [{ roles: ['admin'] }, { paths: { argument: 'path', within: ['/srv'] } }]) {
    assert.equal(allowed({ ...ALLOW, ...unknown }), undefined);
    assert.equal(allowed(ALLOW, { ...ALLOW, id: 'd', effect: 'deny', ...unknown }), undefined);
  }
  assert.match(
    allowed(ALLOW, { ...ALLOW, id: 'd', effect: 'deny' }) ?? '',
    /its rule d is against/,
  );
  assert.match(allowed({ ...ALLOW, caps: { timeoutMs: 999 } }) ?? '', /rule a has lower caps/);
  assert.equal(allowed({ ...ALLOW, roles: ['x'], caps: { timeoutMs: 999 } }), undefined);
});

test('grace, revoked devices and hours count', () => {
  const stale = { caps: CAPS, isStale: true };
  assert.match(whyNotAllowed(bundleOf(ALLOW), AT_NOON, stale) ?? '', /no rule/);
  assert.equal(whyNotAllowed(bundleOf({ ...ALLOW, duringGrace: true }), AT_NOON, stale), undefined);
  const revoking = { ...bundleOf(ALLOW), revokedDevices: [{ tenant: 'north', device: 'laptop' }] };
  assert.match(whyNotAllowed(revoking, AT_NOON, { caps: CAPS, isStale: false }) ?? '', /revokes/);
  const mornings = bundleOf({ ...ALLOW, hours: { from: '08:00', to: '11:00' } });
  assert.match(whyNotAllowed(mornings, AT_NOON, { caps: CAPS, isStale: false }) ?? '', /no rule/);
  const since = { ...AT_NOON, fromMs: NOON_MS - 2 * 3_600_000 };
  assert.equal(whyNotAllowed(mornings, since, { caps: CAPS, isStale: false }), undefined);
});

test('a recorded denial names a rule that can have denied', () => {
  const deny: Rule = { ...ALLOW, id: 'd', effect: 'deny' };
  const denied = (rule: Rule) => whyNotDenied(bundleOf(rule), AT_NOON, 'd');
  assert.equal(denied(deny), undefined);
  assert.equal(denied({ ...deny, roles: ['x'] }), undefined);
  assert.equal(denied({ ...ALLOW, id: 'd', caps: { callsPerTurn: 1 } }), undefined);
  assert.match(denied({ ...ALLOW, id: 'd' }) ?? '', /denies nothing/);
  assert.match(denied({ ...deny, users: ['bob'] }) ?? '', /not about that call/);
  assert.match(denied(ALLOW) ?? '', /no rule d/);
});

const anyRule = fc.record<Rule>(
  {
    id: fc.constantFrom('r0', 'r1', 'r2', 'r3'),
    effect: fc.constantFrom('allow', 'deny'),
    tools: fc.constantFrom(['fs.*'], ['fs.read'], ['web.*']),
    users: fc.constantFrom(['ann'], ['bob']),
    roles: fc.constantFrom(['dev'], ['ops']),
    devices: fc.constantFrom(['laptop'], ['phone']),
    versions: fc.constantFrom('>=1', '>=2'),
    hasEffects: fc.boolean(),
    inSandbox: fc.boolean(),
    paths: fc.constantFrom(
      { argument: 'path', within: ['/srv'] },
      { argument: 'path', within: ['/x'] },
    ),
  },
  { requiredKeys: ['id', 'effect', 'tools'] },
);

test('what the policy decides is never contradicted by what is recorded of it', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyRule, { selector: ({ id }) => id, maxLength: 4 }),
      fc.constantFrom<string[][]>([], ['dev'], ['dev', 'ops']),
      fc.record({ hasEffects: fc.boolean(), inSandbox: fc.boolean() }),
      (rules, roles, facts) => {
        const bundle = bundleOf(...rules);
        const request = {
          ...CALL,
          ...facts,
          roles: roles.flat(),
          arguments: { path: '/srv/a' },
          callsThisTurn: 0,
        };
        const decision = decide(bundle, { ...request, nowMs: NOON_MS });
        if (decision.effect === 'allow') {
          assert.equal(whyNotAllowed(bundle, AT_NOON, { caps: CAPS, isStale: false }), undefined);
        } else if (decision.ruleId !== null) {
          assert.equal(whyNotDenied(bundle, AT_NOON, decision.ruleId), undefined);
        }
      },
    ),
  );
});
