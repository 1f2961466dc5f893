import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LinkQueue, type QueuedByDevice } from './link-queue.ts';

const MAX_BYTES = 100_000;
const device = (): QueuedByDevice => ({ bytes: 0, earlierBytes: 0, sinceBytes: 0 });

test('[RLY-01] any number of flooding devices leaves a link room for one that sends little', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 60, max: 400 }),
      (count, size) => {
        const queue = new LinkQueue(MAX_BYTES);
        let flooding = Array.from({ length: count }, device);
        let queuedBytes = 0;
        while (flooding.length > 0) {
          flooding = flooding.filter((each) => {
            const isRoom = queue.add(each, size, queuedBytes);
            if (isRoom) queuedBytes += size;
            return isRoom;
          });
        }
        assert.ok(queue.add(device(), 100, queuedBytes), `${queuedBytes} bytes`);
      },
    ),
  );
});

test('[RLY-01] one device may fill a third of a link, however much it sent before', () => {
  const queue = new LinkQueue(MAX_BYTES);
  const busy = device();
  for (let i = 0; i < 1000; i++) assert.ok(queue.add(busy, 1000, 1000));
  let queuedBytes = 0;
  while (queue.add(busy, 1000, queuedBytes)) queuedBytes += 1000;
  assert.equal(queuedBytes, 33_000);
});

test('[RLY-01] a device is not charged for what its host has read from a queue that never empties', () => {
  const queue = new LinkQueue(MAX_BYTES);
  const devices = Array.from({ length: 40 }, device);
  for (let round = 0; round < 100; round++) {
    for (const each of devices) assert.ok(queue.add(each, 1000, 40_000));
  }
});

test('[RLY-01] a frame may fill half of what it leaves free, and an empty queue takes any frame', () => {
  const queue = new LinkQueue(MAX_BYTES);
  assert.equal(queue.add(device(), 30_001, 10_000), false);
  assert.equal(queue.add(device(), 30_000, 10_000), true);
  assert.equal(queue.add(device(), 2 * MAX_BYTES, 0), true);
});
