import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from './index.ts';

test('timers fire in order, and each reads its own due time', () => {
  const clock = new FakeClock(0);
  const fired: [string, number][] = [];
  const note = (name: string) => () => fired.push([name, clock.nowMs()]);
  clock.setTimeout(note('late'), 20);
  clock.setTimeout(note('early'), 10);
  clock.setTimeout(note('early too'), 10);
  clock.clearTimeout(clock.setTimeout(note('cleared'), 5));
  clock.advance(15);
  clock.advance(15);
  assert.deepEqual(fired, [
    ['early', 10],
    ['early too', 10],
    ['late', 20],
  ]);
  assert.equal(clock.nowMs(), 30);
  assert.equal(clock.pendingTimers, 0);
});

test('a timer set by a timer fires within the same advance', () => {
  const clock = new FakeClock(0);
  let count = 0;
  const again = () => {
    count += 1;
    clock.setTimeout(again, 10);
  };
  clock.setTimeout(again, 10);
  clock.advance(35);
  assert.equal(count, 3);
});

test('a clock step changes the time and fires no timer', () => {
  const clock = new FakeClock(1000);
  let fired = 0;
  const timer = clock.setTimeout(() => {
    fired += 1;
  }, 10);
  clock.step(-500);
  assert.equal(clock.nowMs(), 500);
  clock.advance(9);
  assert.equal(fired, 0);
  clock.clearTimeout(timer);
  clock.advance(1);
  assert.equal(fired, 0);
});
