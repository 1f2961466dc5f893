import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Throttle } from './throttle.ts';

test('a throttle passes on the first value, then the latest of each interval', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const passed: number[] = [];
  const throttle = new Throttle((value: number) => passed.push(value), 100);
  for (const value of [1, 2, 3]) throttle.push(value);
  assert.deepEqual(passed, [1]);
  t.mock.timers.tick(100);
  assert.deepEqual(passed, [1, 3]);
  t.mock.timers.tick(100);
  throttle.push(4);
  assert.deepEqual(passed, [1, 3, 4]);
});

test('a stopped throttle drops what is pending', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const emit = mock.fn();
  const throttle = new Throttle(emit, 100);
  throttle.push(1);
  throttle.push(2);
  throttle.stop();
  t.mock.timers.tick(1000);
  assert.equal(emit.mock.callCount(), 1);
});
