import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from '@zerolatency/policy';
import {
  allow,
  bundleOf,
  deny,
  escalate,
  request,
  rules,
  sampleBundle,
  sampleRequest,
} from '@zerolatency/policy/testing';
import fc from 'fast-check';
import { explain } from './explain.ts';

const AGES = ['active', 'stale', 'expired'] as const;

test('[POL-07] an explanation agrees with the decision, and each rule with its reasons', () => {
  fc.assert(
    fc.property(rules, request, fc.constantFrom(...AGES), (some, asked, age) => {
      const bundle = bundleOf(some);
      const { decision, rules: explained } = explain(bundle, asked, age);
      assert.deepEqual(decision, decide(bundle, asked, age));
      for (const { matched, reasons } of explained) {
        assert.equal(
          matched,
          reasons.every((reason) => reason.matched),
        );
      }
      if (decision.effect === 'allow') {
        assert.ok(explained.every((rule) => rule.effect === 'allow' || !rule.matched));
      }
    }),
  );
});

test('[POL-07] an explanation shows what a rule asks for and what the call has', () => {
  const bundle = sampleBundle({ rules: [allow({ roles: ['admin'], versions: '^2' })] });
  const [rule] = explain(bundle, sampleRequest()).rules;
  assert.equal(rule?.matched, false);
  assert.deepEqual(
    rule.reasons
      .filter(({ matched }) => !matched)
      .map(({ constraint, detail }) => [constraint, detail]),
    [
      ['roles', 'roles asks for ["admin"]; the call has ["user"], so it does not hold'],
      ['versions', 'versions asks for "^2"; the call has "1.0.0", so it does not hold'],
    ],
  );
});

test('[POL-07] a constraint that cannot be decided is shown as such', () => {
  const paths = { argument: 'path', within: ['/data'] };
  const bundle = sampleBundle({ rules: [allow({ paths }), deny({ paths })] });
  const explained = explain(bundle, sampleRequest({ arguments: { path: '../x' } }));
  const details = explained.rules.flatMap(({ reasons }) => reasons.map(({ detail }) => detail));
  assert.match(details.join('\n'), /cannot be decided, so the allow does not hold/);
  assert.match(details.join('\n'), /cannot be decided, so the deny holds/);
});

test('[POL-07] the files that a server opened are shown beside the argument', () => {
  const secret = deny({ paths: { argument: 'path', within: ['/data/secret'] } });
  const files = [{ argument: 'path', path: '/data/secret/a', links: 1 }];
  const opened = { files, realFolders: new Map() };
  const asked = sampleRequest({ arguments: { path: '/data/pub/a' }, opened });
  const { decision, rules: explained } = explain(sampleBundle({ rules: [secret] }), asked);
  assert.ok(decision.effect === 'deny' && decision.ruleId === 'no');
  const detail = explained[0]?.reasons.at(-1)?.detail ?? '';
  assert.match(detail, /the call has .*"\/data\/pub\/a".*"\/data\/secret\/a".*, so it holds/);
});

test('[POL-07] an escalation and a reserved condition are shown as they are', () => {
  const when = { language: 'cedar', source: 'true' } as const;
  const bundle = sampleBundle({ rules: [allow({ when }), escalate()] });
  const { decision, rules: explained } = explain(bundle, sampleRequest());
  assert.equal(decision.effect, 'escalate');
  assert.deepEqual(
    explained.map(({ id, effect, matched }) => [id, effect, matched]),
    [
      ['read', 'allow', false],
      ['ask', 'escalate', true],
    ],
  );
  const details = explained[0]?.reasons.map(({ detail }) => detail).join('\n') ?? '';
  assert.match(details, /when asks for .* and cannot be decided, so the allow does not hold/);
});

test('a long argument is shown cut', () => {
  const bundle = sampleBundle();
  const asked = sampleRequest({ arguments: { path: `/${'x'.repeat(100_000)}` } });
  const text = JSON.stringify(explain(bundle, asked));
  assert.ok(text.length < 2000);
});
