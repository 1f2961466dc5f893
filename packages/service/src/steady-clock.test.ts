import assert from 'node:assert/strict';
import { test } from 'node:test';
import { steadyClock } from './steady-clock.ts';

const START_MS = 1_000_000;

function machine() {
  const at = { unixMs: START_MS, monotonicMs: 50, uptimeMs: 7_000 };
  let uptimeReads = 0;
  const clock = steadyClock({
    unixMs: () => at.unixMs,
    monotonicMs: () => at.monotonicMs,
    uptimeMs: () => {
      uptimeReads += 1;
      return at.uptimeMs;
    },
  });
  const pass = (ms: number, isAwake: boolean) => {
    at.unixMs += ms;
    at.uptimeMs += ms;
    if (isAwake) at.monotonicMs += ms;
  };
  return { at, clock, pass, uptimeReads: () => uptimeReads };
}

test('begins with the time of day, and setting that changes nothing', () => {
  const { at, clock, pass } = machine();
  assert.equal(clock(), START_MS);
  pass(10, true);
  at.unixMs += 3_600_000;
  assert.equal(clock(), START_MS + 10);
  at.unixMs -= 7_200_000;
  pass(10, true);
  assert.equal(clock(), START_MS + 20);
});

test('counts the sleep of the machine, whenever the clock is read', () => {
  const { at, clock, pass } = machine();
  pass(55_000, false);
  assert.equal(clock(), START_MS + 55_000);
  at.unixMs -= 3_600_000;
  pass(5_000, true);
  pass(20_000, false);
  assert.equal(clock(), START_MS + 80_000);
});

test('reads the uptime only when the time of day has left the monotonic clock', () => {
  const { at, clock, pass, uptimeReads } = machine();
  for (let read = 0; read < 100; read += 1) {
    pass(1_000, true);
    clock();
  }
  assert.equal(uptimeReads(), 1);
  at.unixMs += 1_000;
  clock();
  clock();
  assert.equal(uptimeReads(), 2);
});
