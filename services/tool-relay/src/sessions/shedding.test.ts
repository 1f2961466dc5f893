import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Shedding } from './shedding.ts';

const LIMITS = { closeAfterMs: 5_000, devicesPerSecond: 500, deadlineMs: 20_000 };
const STEP_MS = 20;

/** When each of the devices is told, and how long it has from then on. */
function shed(t: TestContext, devices: number, limits: Partial<typeof LIMITS> = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let nowMs = 1_000_000;
  const told: { readonly atMs: number; readonly hasMs: number }[] = [];
  const tells = Array.from({ length: devices }, () => (hasMs: number) => {
    told.push({ atMs: nowMs - 1_000_000, hasMs });
  });
  const shedding = new Shedding(tells, { ...LIMITS, ...limits }, () => nowMs);
  shedding.start();
  const pass = (ms: number) => {
    for (let left = ms; left > 0; left -= STEP_MS) {
      nowMs += STEP_MS;
      t.mock.timers.tick(STEP_MS);
    }
  };
  return { shedding, told, pass };
}

test('[RLY-06] devices are told to move at a bounded rate, and each has the whole time', (t) => {
  const { shedding, told, pass } = shed(t, 2_501);
  assert.equal(told.length, 1);
  assert.equal(shedding.lastsMs, 10_000);
  for (let second = 1; second <= 5; second += 1) {
    pass(1_000);
    assert.equal(told.length, 1 + second * 500);
  }
  for (const { atMs, hasMs } of told) assert.equal(atMs + hasMs, 10_000);
  pass(60_000);
  assert.equal(told.length, 2_501);
});

test('[RLY-06] more are told a second only where the deadline leaves less time', (t) => {
  const { shedding, told, pass } = shed(t, 20_000);
  assert.equal(shedding.lastsMs, 16_000);
  pass(11_000);
  assert.equal(told.length, 20_000);
  assert.ok(told.every(({ hasMs }) => hasMs >= 5_000));
});

for (const deadlineMs of [0, 5_000]) {
  test(`with a deadline of ${deadlineMs} ms all devices are told at once`, (t) => {
    const { shedding, told } = shed(t, 1_000, { deadlineMs });
    assert.equal(told.length, 1_000);
    assert.equal(shedding.lastsMs, 5_000);
  });
}

test('one device, or none, is told at once', (t) => {
  assert.equal(shed(t, 1).told.length, 1);
});

test('a pod without devices closes without a wait for any', (t) => {
  assert.equal(shed(t, 0).told.length, 0);
});

test('nobody is told after the end', (t) => {
  const { shedding, told, pass } = shed(t, 100);
  shedding.stop();
  pass(1_000);
  assert.equal(told.length, 1);
});
