import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideSomeCall, type Rule } from '@zerolatency/policy';
import fc from 'fast-check';
import { policyOf } from '../../test/relay/tool-world.ts';

const ASKING = {
  tool: 'fs.read',
  version: '1.0.0',
  tenant: 'north',
  user: 'user-1',
  roles: ['dev'],
  deviceId: 'laptop',
  callsThisTurn: 0,
};

const anyRule: fc.Arbitrary<Omit<Rule, 'id'>> = fc.record(
  {
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    tools: fc.subarray(['fs.*', 'fs.read', 'web.get'], { minLength: 1 }),
    roles: fc.constantFrom(['dev'], ['boss']),
    paths: fc.constantFrom(
      { argument: 'path', within: ['/home'] },
      { argument: 'path', within: ['/home/user'] },
    ),
  },
  { requiredKeys: ['effect', 'tools'] },
);

test('[POL-01] a tool of which some call is allowed is always shown', async () => {
  const anyPath = fc.constantFrom('/home/user/a', '/home/b', '/etc/passwd');
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyRule, { minLength: 1, maxLength: 5 }),
      anyPath,
      async (rules, path) => {
        const holder = await policyOf(rules.map((rule, n) => ({ ...rule, id: `rule-${n}` })));
        const request = { ...ASKING, nowMs: Date.now() };
        const decision = holder.decide({ ...request, arguments: { path } });
        const some = decideSomeCall(holder.current(request.nowMs), request);
        assert.ok(some.effect === 'allow' || decision.effect !== 'allow');
      },
    ),
    { numRuns: 50 },
  );
});

test('[POL-01] [BRG-02] no model is shown a tool that needs a sandbox its server does not have', async () => {
  const demand = { hasEffects: true, inSandbox: false };
  const held = (
    await policyOf([
      { id: 'all', effect: 'allow', tools: ['*'] },
      { id: 'demand', effect: 'deny', tools: ['*'], ...demand },
    ])
  ).current(Date.now());
  const isShown = (facts: object) =>
    decideSomeCall(held, { ...ASKING, ...facts, nowMs: Date.now() }).effect === 'allow';
  assert.equal(isShown(demand), false);
  assert.equal(isShown({}), false);
  assert.equal(isShown({ hasEffects: true, inSandbox: true }), true);
  assert.equal(isShown({ hasEffects: false, inSandbox: false }), true);
});

test('[POL-02] without a bundle in force no tool is shown', async () => {
  const none = decideSomeCall({ state: 'none' }, { ...ASKING, nowMs: 0 });
  assert.equal(none.effect, 'deny');
  const holder = await policyOf([{ id: 'all', effect: 'allow', tools: ['*'] }]);
  const nowMs = Date.now() + 365 * 86_400_000;
  const late = decideSomeCall(holder.current(nowMs), { ...ASKING, nowMs });
  assert.equal(late.effect, 'deny');
});
