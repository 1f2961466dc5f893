import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseBytes, parseDurationMs } from './units.ts';

test('durations and sizes are read with their units', () => {
  const durations = { '0s': 0, '250ms': 250, '10s': 10_000, '1.5m': 90_000, '12h': 43_200_000 };
  for (const [text, ms] of Object.entries(durations)) assert.equal(parseDurationMs(text), ms);
  const sizes = {
    '512': 512,
    '1B': 1,
    '64KiB': 65_536,
    '1.5MiB': 1_572_864,
    '2GB': 2e9,
    '1 kB': 1000,
  };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseBytes(text), bytes);
});

test('what has no unit, or too much of something, is refused', () => {
  for (const text of ['', '10', 's', '-1s', '1e3s', '10 seconds', '999999999999999d', '1.s']) {
    assert.throws(() => parseDurationMs(text), { id: 'config.invalid' }, text);
  }
  for (const text of ['', '-1', 'MiB', '1Mi', '1mib', '0x10', '999999999999TiB', '1constructor']) {
    assert.throws(() => parseBytes(text), { id: 'config.invalid' }, text);
  }
});

test('a duration that a timer would cut to a millisecond is refused', () => {
  assert.equal(parseDurationMs('12d'), 1_036_800_000);
  assert.throws(() => parseDurationMs('25d'), { id: 'config.invalid', message: /at most 12d/ });
});

test('larger amounts are never less', () => {
  fc.assert(
    fc.property(fc.nat(288), fc.nat(288), fc.constantFrom('ms', 's', 'm', 'h'), (a, b, unit) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      assert.ok(parseDurationMs(`${low}${unit}`) <= parseDurationMs(`${high}${unit}`));
    }),
  );
});
