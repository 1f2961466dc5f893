import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applies, type Bundle } from '@zerolatency/policy';
import {
  allow,
  allowRule,
  DAY_MS,
  deny,
  denyRule,
  escalate,
  NOW,
  request,
  sampleBundle,
} from '@zerolatency/policy/testing';
import fc from 'fast-check';
import { lintBundle } from './lint-bundle.ts';
import { covers } from './rule-cover.ts';

const CAPS = { maxBytes: 1 };

function lint(changes: Partial<Bundle>, nowMs = NOW): string[] {
  const warnings = lintBundle(sampleBundle(changes), { nowMs });
  return warnings.map(({ ruleId, warning }) => (ruleId ? `${ruleId}: ${warning}` : warning));
}

test('[POL-07] a careful bundle has no warnings', () => {
  assert.deepEqual(lint({}), []);
});

test('[POL-07] expiry is compared with the current time', () => {
  assert.deepEqual(lint({}, NOW + 6.5 * DAY_MS), ['expiry-near']);
  assert.deepEqual(lint({}, NOW + 7 * DAY_MS), ['expired']);
  const expiresAt = new Date(NOW + 30 * DAY_MS).toISOString();
  assert.deepEqual(lint({ expiresAt }), ['expiry-far']);
});

test('[POL-07] rules that cannot work as intended are named', () => {
  assert.deepEqual(lint({ rules: [] }), ['allows-nothing']);
  assert.deepEqual(lint({ rules: [allow()] }), ['read: caps-missing']);
  assert.deepEqual(lint({ rules: [allow({ tools: ['*'], caps: CAPS })] }), [
    'read: allows-anyone-anything',
  ]);
  assert.deepEqual(lint({ rules: [allow({ tools: ['read'], caps: CAPS })] }), [
    'read: tool-name-odd',
  ]);
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS }), deny({ tools: ['fs.*'] })] }), [
    'read: unreachable',
  ]);
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS }), deny({ tools: ['*'] })] }), [
    'no: deny-shadows-all',
    'read: unreachable',
  ]);
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS }), escalate({ tools: ['fs.*'] })] }), [
    'read: unreachable',
  ]);
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS, egress: ['example.com'] })] }), [
    'read: never-applies',
  ]);
  const paths = { argument: 'path', within: ['/data', '/data/My%20Files'] };
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS, paths })] }), ['read: never-applies']);
  assert.deepEqual(lint({ rules: [escalate()] }), []);
  const demand = deny({ tools: ['*'], hasEffects: true, inSandbox: false });
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS }), demand] }), []);
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS, inSandbox: true })] }), []);
  const inverted = [allow({ caps: CAPS, inSandbox: false }), deny({ inSandbox: true })];
  assert.deepEqual(lint({ rules: inverted }), ['read: sandbox-inverted', 'no: sandbox-inverted']);
  const wider = allow({ id: 'wider', tools: ['fs.*'], caps: { maxBytes: 9 } });
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS }), wider] }), ['read: caps-overlap']);
});

test('[POL-07] grace without effect is named', () => {
  assert.deepEqual(lint({ graceMs: 1000 }), ['grace-unused']);
  assert.deepEqual(lint({ rules: [allow({ caps: CAPS, duringGrace: true })] }), [
    'read: grace-unused',
  ]);
  assert.deepEqual(lint({ graceMs: 1, rules: [allow({ caps: CAPS, duringGrace: true })] }), []);
});

test('versions are covered by a wider range only', () => {
  const [wide, narrow] = [allow({ versions: '>=1.0.0' }), allow({ versions: '^1.2.0' })];
  assert.ok(covers(wide, narrow));
  assert.equal(covers(narrow, wide), false);
  assert.equal(covers(narrow, allow()), false);
});

test('a rule that covers another applies to every call the other applies to', () => {
  let covered = 0;
  fc.assert(
    fc.property(denyRule, allowRule, fc.array(request, { minLength: 5 }), (a, b, asked) => {
      if (!covers(a, b)) return;
      covered += 1;
      for (const one of asked) assert.ok(!applies(b, one) || applies(a, one));
    }),
    { numRuns: 10_000 },
  );
  assert.ok(covered > 20, `only ${covered} pairs were compared`);
});
