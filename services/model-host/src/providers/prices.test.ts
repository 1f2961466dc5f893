import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkPrices, Prices } from './prices.ts';

const TYPES = new Map([
  ['claude', 'anthropic'],
  ['local', 'openai-compatible'],
]);
const at = (day: string) => new Prices({ types: TYPES, nowMs: () => Date.parse(day) });
const NO_TOKENS = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0 };
const MILLION = 1_000_000;
const SONNET = { provider: 'claude', model: 'claude-sonnet-4-5-20250929' };

function table(prices: readonly object[], more = {}): ReturnType<typeof checkPrices> {
  return checkPrices({ schema: 'zerolatency.prices/v1', version: 7, prices, ...more });
}

function entry(models: readonly string[], input: number, more = {}) {
  return { providers: ['claude'], models, usdPerMillionTokens: { input, output: 0 }, ...more };
}

test('[PROV-02] each kind of token has its price', () => {
  const prices = at('2026-11-01');
  const usd = (usage: Partial<typeof NO_TOKENS>) =>
    Number(prices.costOf(SONNET, { ...NO_TOKENS, ...usage })) / 1e9;
  assert.equal(usd({ inputTokens: MILLION }), 3);
  assert.equal(usd({ outputTokens: MILLION }), 15);
  assert.equal(usd({ inputTokens: MILLION, cachedInputTokens: MILLION }), 0.3);
  assert.equal(usd({ inputTokens: MILLION, cacheWriteTokens: MILLION }), 3.75);
  assert.equal(
    usd({ inputTokens: 30, cachedInputTokens: 10, cacheWriteTokens: 10, outputTokens: 2 }),
    (10 * 3 + 10 * 0.3 + 10 * 3.75 + 2 * 15) / MILLION,
  );
});

test('[PROV-02] a model that no table names has no cost, and a free one costs 0', () => {
  const prices = at('2026-11-01');
  assert.equal(prices.costOf({ provider: 'claude', model: 'claude-next' }, NO_TOKENS), undefined);
  assert.equal(prices.costOf({ provider: 'local', model: 'gpt-5' }, NO_TOKENS), undefined);
  const usage = { ...NO_TOKENS, inputTokens: MILLION };
  assert.equal(prices.costOf({ provider: 'mock', model: 'scripted' }, usage), 0);
});

test('[PROV-02] a price applies from its day', () => {
  const flash = { provider: 'google', model: 'gemini-3.6-flash' };
  const usage = { ...NO_TOKENS, inputTokens: MILLION };
  const usdOn = (day: string) => {
    const prices = new Prices({
      types: new Map([['google', 'google']]),
      nowMs: () => Date.parse(day),
    });
    return Number(prices.costOf(flash, usage)) / 1e9;
  };
  assert.equal(usdOn('2026-12-31T23:59:59Z'), 0.75);
  assert.equal(usdOn('2027-01-01T00:00:00Z'), 1.5);
});

test('[PROV-02] a long request has the price of long requests for all its tokens', () => {
  const prices = at('2026-11-01');
  const target = { provider: 'google', model: 'gemini-2.5-pro' };
  const cost = (inputTokens: number) =>
    Number(prices.costOf(target, { ...NO_TOKENS, inputTokens, outputTokens: MILLION })) / 1e9;
  assert.equal(cost(200_000), 10.25);
  assert.equal(cost(200_001), 15 + (200_001 * 2.5) / MILLION);
});

test("[PROV-02] an operator's table comes first, the closest price wins, and it can replace all others", () => {
  const prices = at('2026-11-01');
  const usd = (model: string) => {
    const usage = { ...NO_TOKENS, inputTokens: MILLION };
    const cost = prices.costOf({ provider: 'claude', model }, usage);
    return cost === undefined ? undefined : cost / 1e9;
  };
  const own = [
    entry(['claude-*'], 1),
    entry(['claude-sonnet-*'], 2),
    entry(['claude-sonnet-4-5'], 4),
    entry(['claude-sonnet-4-5'], 5, { from: '2026-10-01' }),
    entry(['claude-sonnet-4-5'], 6, { from: '2026-12-01' }),
    entry(['claude-sonnet-4-5-long-name'], 7, { providers: ['anthropic'] }),
  ];
  prices.use(table(own));
  assert.equal(usd('claude-next'), 1);
  assert.equal(usd('claude-sonnet-9'), 2);
  assert.equal(usd('claude-sonnet-4-5'), 5);
  // By its provider's name before its type, however long the pattern.
  assert.equal(usd('claude-sonnet-4-5-long-name'), 2);
  prices.use(table([entry(['other'], 1)]));
  assert.equal(usd('claude-sonnet-4-5'), 3);
  prices.use(table([entry(['other'], 1)], { replacesShipped: true }));
  assert.equal(usd('claude-sonnet-4-5'), undefined);
  assert.match(prices.description, /^own: version 7, 1 prices; shipped: replaced$/);
});

test('[PROV-02] a cost is a whole number, and parts never cost less than their sum', () => {
  const prices = at('2026-11-01');
  const usage = fc
    .record({
      uncached: fc.nat({ max: 150_000 }),
      cachedInputTokens: fc.nat({ max: 10_000 }),
      cacheWriteTokens: fc.nat({ max: 10_000 }),
      outputTokens: fc.nat({ max: 100_000 }),
    })
    .map(({ uncached, ...counts }) => ({
      ...counts,
      inputTokens: uncached + counts.cachedInputTokens + counts.cacheWriteTokens,
    }));
  const model = fc.constantFrom(SONNET, { provider: 'openai', model: 'gpt-5-nano' });
  fc.assert(
    fc.property(model, usage, usage, (target, one, other) => {
      const costs = [one, other].map((each) => Number(prices.costOf(target, each)));
      const sum = Object.fromEntries(
        Object.keys(NO_TOKENS).map((key) => [key, Reflect.get(one, key) + Reflect.get(other, key)]),
      );
      const whole = Number(prices.costOf(target, { ...NO_TOKENS, ...sum }));
      assert.ok(Number.isSafeInteger(whole));
      const parts = Number(costs[0]) + Number(costs[1]);
      assert.ok(whole <= parts && parts - whole <= 1, `${whole} ${parts}`);
    }),
  );
  const absurd = { ...NO_TOKENS, outputTokens: Number.MAX_SAFE_INTEGER };
  assert.equal(prices.costOf(SONNET, absurd), Number.MAX_SAFE_INTEGER);
});

test('[PROV-02] a table that cannot be right is refused, with its place', () => {
  const wrong: readonly [unknown, RegExp][] = [
    [[], /object/],
    [{ schema: 'zerolatency.prices/v2', version: 1, prices: [] }, /schema/],
    [
      { schema: 'zerolatency.prices/v1', version: 1, prices: [entry(['a*b'], 1)] },
      /prices.0.models/,
    ],
    [{ schema: 'zerolatency.prices/v1', version: 1, prices: [entry(['a'], -1)] }, /input/],
  ];
  for (const [table, message] of wrong) {
    assert.throws(() => checkPrices(table), { id: 'config.invalid', message });
  }
});
