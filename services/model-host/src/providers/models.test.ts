import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelsOf } from '../../test/support/turn-bench.ts';
import { Models, type ModelTable } from './models.ts';
import type { LlmProvider } from './port.ts';

const PROVIDERS: ReadonlyMap<string, LlmProvider> = new Map(
  ['a', 'b'].map((name) => [name, { name, async *stream() {} }]),
);
const OPTIONS = {
  breaker: { openForMs: 1_000, maxOpenForMs: 1_000 },
  prices: { costOf: () => undefined },
};
const TABLE: ModelTable = {
  default: 'main',
  aliases: { main: { provider: 'a', model: 'm1' }, small: { provider: 'b', model: 'm2' } },
  tenants: {
    north: {
      default: 'own',
      aliases: { own: { provider: 'b', model: 'm3' }, small: { provider: 'a', model: 'm4' } },
    },
  },
};

function namesOf(models: Models, alias: string, tenant: string): string[] {
  const { targets } = models.resolve(alias, tenant);
  return targets.map(({ provider, model }) => `${provider.name} ${model}`);
}

test('[PROV-05] a tenant has aliases of its own beside those of the pod, or in their place', () => {
  const models = new Models(TABLE, PROVIDERS, OPTIONS);
  assert.deepEqual(namesOf(models, '', 'south'), ['a m1']);
  assert.deepEqual(namesOf(models, 'small', 'south'), ['b m2']);
  assert.deepEqual(namesOf(models, '', 'north'), ['b m3']);
  assert.deepEqual(namesOf(models, 'small', 'north'), ['a m4']);
  assert.deepEqual(namesOf(models, 'main', 'north'), ['a m1']);
  assert.throws(() => models.resolve('own', 'south'), /no model alias "own"/);
  assert.deepEqual(models.aliases, ['main', 'small']);
});

test('[PROV-05] a new table keeps the breakers of the targets that stay, and a wrong one changes nothing', () => {
  const models = new Models(TABLE, PROVIDERS, OPTIONS);
  const { breaker } = models.resolve('main', '').targets[0]!;
  for (let n = 0; n < 5; n += 1) breaker.enter()?.failed();
  const wrong = { ...TABLE, aliases: { main: { provider: 'nobody', model: 'm' } } };
  assert.throws(() => models.replace(wrong), /models\.aliases\.main\.provider names "nobody"/);
  assert.deepEqual(namesOf(models, 'main', ''), ['a m1']);
  models.replace({ default: 'other', aliases: { other: TABLE.aliases.main! }, tenants: {} });
  assert.equal(models.resolve('other', '').targets[0]?.breaker.state, 'open');
  assert.deepEqual(namesOf(models, '', 'north'), ['a m1']);
});

test('[PROV-05] a wrong alias names its setting', () => {
  const target = { provider: 'a', model: 'm' };
  const cases: readonly [ModelTable['aliases'][string], RegExp][] = [
    [{ provider: 'a' }, /models\.aliases\.x\.model is missing/],
    [{}, /models\.aliases\.x\.provider is missing/],
    [{ ...target, targets: [target] }, /x\.provider and models\.aliases\.x\.targets exclude/],
    [{ maxOutputTokens: 1, targets: [target] }, /x\.maxOutputTokens and .* exclude each other/],
    [{ targets: [target, { ...target, provider: 'c' }] }, /x\.targets\.1\.provider names "c"/],
  ];
  for (const [alias, message] of cases) {
    assert.throws(() => modelsOf({ x: alias }, Object.fromEntries(PROVIDERS)), message);
  }
});

test('[PROV-05] an alias orders its targets by price, those without one last, by the prices of now', () => {
  const costs = new Map([
    ['m1', 30],
    ['m2', 10],
  ]);
  const targets = ['m0', 'm1', 'm2'].map((model) => ({ provider: 'a', model }));
  const models = modelsOf(
    { cheap: { targets, order: 'cheapest' }, listed: { targets } },
    Object.fromEntries(PROVIDERS),
    { prices: { costOf: ({ model }) => costs.get(model) } },
  );
  assert.deepEqual(namesOf(models, 'cheap', ''), ['a m2', 'a m1', 'a m0']);
  assert.deepEqual(namesOf(models, 'listed', ''), ['a m0', 'a m1', 'a m2']);
  costs.set('m0', 5);
  assert.deepEqual(namesOf(models, 'cheap', ''), ['a m0', 'a m2', 'a m1']);
});
