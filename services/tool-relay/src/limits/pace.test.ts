import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Allowance } from './allowance.ts';
import { Pace, type PauseReason, Turns } from './pace.ts';

const RATE = { framesPerSecond: 100, bytesPerSecond: 1_000_000 };

function paceWorld(t: TestContext, tenantRate = { framesPerSecond: 1e6, bytesPerSecond: 1e9 }) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let nowMs = 0;
  const monotonicMs = () => nowMs;
  const tenant = new Allowance(tenantRate, 0);
  const turns = new Turns(tenant, monotonicMs);
  const device = (canPause = true) => {
    const own = new Allowance(RATE, 0);
    const reader = {
      isPaused: false,
      pause: () => {
        reader.isPaused = canPause;
        return canPause;
      },
      resume: () => {
        reader.isPaused = false;
      },
    };
    const paused = { device: 0, tenant: 0, share: 0 };
    const onPaused = (reason: PauseReason, ms: number) => {
      paused[reason] += ms;
    };
    const pace = new Pace({ reader, own, turns, monotonicMs, onPaused });
    t.after(() => pace.close());
    const send = (frames = 1) => {
      for (let i = 0; i < frames; i++) {
        if (!own.takeMessage(nowMs) && !pace.slowOwn()) return false;
        if (!tenant.charge(0, nowMs) && !pace.slowTenant()) return false;
      }
      return true;
    };
    return { pace, reader, paused, send };
  };
  const pass = (ms: number) => {
    for (let i = 0; i < ms; i += 10) {
      nowMs += 10;
      t.mock.timers.tick(10);
    }
  };
  return { device, pass };
}

test('[RLY-01] a device over its rate is not read until what it sent is made good', (t) => {
  const { device, pass } = paceWorld(t);
  const { reader, pace, paused, send } = device();
  assert.ok(send(100));
  assert.equal(reader.isPaused, false);
  assert.ok(send(200));
  assert.deepEqual([reader.isPaused, pace.isPaused], [true, true]);
  pass(1900);
  assert.equal(reader.isPaused, true);
  pass(500);
  assert.equal(reader.isPaused, false);
  assert.ok(paused.device >= 2000 && paused.device <= 2400, String(paused.device));
  assert.equal(paused.tenant, 0);
});

test('[RLY-01] a device that sent ten seconds too much at once must go, and one whose engine cannot pause at once', (t) => {
  const { device } = paceWorld(t);
  assert.equal(device().send(1000), true);
  assert.equal(device().send(1200), false);
  assert.equal(device(false).send(100), true);
  assert.equal(device(false).send(101), false);
});

test('[RLY-01] a device that never stops must go after a minute', (t) => {
  const { device, pass } = paceWorld(t);
  const { reader, send } = device();
  let floodedMs = 0;
  for (; reader.isPaused || send(50); floodedMs += 10) pass(10);
  assert.ok(floodedMs >= 60_000 && floodedMs < 65_000, String(floodedMs));
});

test('[RLY-01] a device that catches up between its bursts may stay', (t) => {
  const { device, pass } = paceWorld(t);
  const { reader, send } = device();
  for (let burst = 0; burst < 15; burst++) {
    assert.ok(send(600));
    pass(7000);
    assert.equal(reader.isPaused, false);
  }
});

test('[RLY-01] devices of a tenant over its rate are read in turns', (t) => {
  const { device, pass } = paceWorld(t, { framesPerSecond: 100, bytesPerSecond: 1e9 });
  const devices = Array.from({ length: 5 }, () => ({ ...device(), sent: 0 }));
  const [honest, ...flooding] = devices;
  for (let round = 0; round < 1000; round++) {
    for (const each of flooding) {
      if (each.reader.isPaused) continue;
      assert.ok(each.send(20));
      each.sent += 20;
    }
    if (round % 200 === 0 && !honest!.reader.isPaused) {
      assert.ok(honest!.send());
      honest!.sent += 1;
    }
    pass(10);
  }
  const sent = flooding.map((each) => each.sent);
  assert.ok(Math.max(...sent) <= 2 * Math.min(...sent), String(sent));
  assert.equal(honest!.sent, 5);
  const total = sent.reduce((sum, each) => sum + each, 0);
  assert.ok(total >= 500 && total <= 1500, String(total));
  assert.ok(flooding.every(({ paused }) => paused.tenant > 0 && paused.device === 0));
});

test('[RLY-01] a device that leaves gives its turn to the next', (t) => {
  const { device, pass } = paceWorld(t, { framesPerSecond: 100, bytesPerSecond: 1e9 });
  const first = device();
  const second = device();
  first.send(90);
  second.send(90);
  first.send();
  assert.deepEqual([first.reader.isPaused, second.reader.isPaused], [true, true]);
  first.pace.close();
  pass(1500);
  assert.deepEqual([first.reader.isPaused, second.reader.isPaused], [true, false]);
});
