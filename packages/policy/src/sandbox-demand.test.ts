import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDocument } from '@zerolatency/signing';
import { allow, deny, sampleBundle, sampleRequest } from '../test/index.ts';
import { POLICY_BUNDLE, type Rule } from './bundle.ts';
import { decide, type PolicyRequest } from './decide.ts';

type Facts = Pick<PolicyRequest, 'hasEffects' | 'inSandbox'>;

const DEMAND: Rule = {
  id: 'effects-need-a-sandbox',
  effect: 'deny',
  tools: ['*'],
  hasEffects: true,
  inSandbox: false,
};

function decided(rules: readonly Rule[], facts: Facts) {
  return decide(
    sampleBundle({ schema: 'zerolatency.policy/v2', rules: [...rules] }),
    sampleRequest(facts),
  );
}

test('[BRG-02] [POL-01] a bundle demands a sandbox of tools with effects, and doubt counts against the call', () => {
  const cases: [Facts, 'allow' | 'deny'][] = [
    [{ hasEffects: true, inSandbox: false }, 'deny'],
    [{ hasEffects: true, inSandbox: undefined }, 'deny'],
    [{ hasEffects: undefined, inSandbox: false }, 'deny'],
    [{}, 'deny'],
    [{ hasEffects: true, inSandbox: true }, 'allow'],
    [{ inSandbox: true }, 'allow'],
    [{ hasEffects: false, inSandbox: false }, 'allow'],
    [{ hasEffects: false }, 'allow'],
  ];
  for (const [facts, effect] of cases) {
    assert.equal(decided([allow(), DEMAND], facts).effect, effect, JSON.stringify(facts));
  }
  const reading = [allow({ hasEffects: false })];
  assert.equal(decided(reading, { hasEffects: false }).effect, 'allow');
  assert.equal(decided(reading, { hasEffects: true }).effect, 'deny');
  assert.equal(decided(reading, {}).effect, 'deny');
});

test('[POL-01] a denial for want of a sandbox names the rule and the remedy, and no other denial does', () => {
  const outside = { hasEffects: true, inSandbox: false };
  const reasonOf = (rules: readonly Rule[]) => {
    const decision = decided(rules, outside);
    assert.equal(decision.effect, 'deny');
    return 'reason' in decision ? decision.reason : '';
  };
  const remedy = /outside a sandbox: its device needs bubblewrap/;
  assert.match(reasonOf([allow(), DEMAND]), /^rule effects-need-a-sandbox denies it outside/);
  assert.match(reasonOf([allow(), DEMAND]), remedy);
  assert.match(reasonOf([allow({ inSandbox: true })]), remedy);
  for (const rules of [[DEMAND], [allow(), deny(), DEMAND], [allow({ users: ['bob'] }), DEMAND]]) {
    assert.doesNotMatch(reasonOf(rules), remedy, JSON.stringify(rules));
  }
});

test('[POL-01] a bundle of version 1 has no field of version 2', () => {
  for (const changes of [{ hasEffects: true }, { inSandbox: false }]) {
    const rules = [deny(changes)];
    const later = sampleBundle({ schema: 'zerolatency.policy/v2', rules });
    assert.ok('content' in checkDocument(POLICY_BUNDLE, later));
    const checked = checkDocument(POLICY_BUNDLE, sampleBundle({ rules }));
    assert.ok('error' in checked);
    assert.match(checked.error.message, /rule no: .* need the schema zerolatency.policy\/v2/);
  }
});
