import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Allowance } from './allowance.ts';
import { Backlog } from './backlog.ts';
import { Heartbeat } from './heartbeat.ts';
import { HelloAllowance, LargeHellos } from './hello-allowance.ts';

test('[RLY-01] no span of time takes more than a burst plus the rate', () => {
  const rate = { framesPerSecond: 10, bytesPerSecond: 1000 };
  const attempt = fc.record({ afterMs: fc.nat(400), bytes: fc.nat(600) });
  fc.assert(
    fc.property(fc.array(attempt, { maxLength: 60 }), (attempts) => {
      const allowance = new Allowance(rate, 0);
      const taken: { atMs: number; bytes: number }[] = [];
      let nowMs = 0;
      for (const { afterMs, bytes } of attempts) {
        nowMs += afterMs;
        if (allowance.take(bytes, nowMs)) taken.push({ atMs: nowMs, bytes });
      }
      taken.forEach((first, index) => {
        const stretch = taken.slice(index);
        const seconds = (stretch.at(-1)!.atMs - first.atMs) / 1000;
        const bytes = stretch.reduce((sum, next) => sum + next.bytes, 0);
        assert.ok(stretch.length <= 10 * (1 + seconds) + 1e-6);
        assert.ok(bytes <= 1000 * (1 + seconds) + 1e-6);
      });
    }),
  );
});

test('an idle allowance refills to its burst and no further', () => {
  const allowance = new Allowance({ framesPerSecond: 2, bytesPerSecond: 100 }, 0);
  assert.ok(allowance.take(50, 0) && allowance.take(50, 0));
  assert.equal(allowance.take(0, 0), false);
  assert.ok(allowance.take(50, 60_000) && allowance.take(50, 60_000));
  assert.equal(allowance.take(1, 60_000), false);
});

test('[RLY-01] a read may overdraw the bytes of a second, and reads are counted too', () => {
  const rate = { framesPerSecond: 10, bytesPerSecond: 4096 };
  const allowance = new Allowance(rate, 0);
  assert.ok(allowance.takeRead(4000, 0));
  assert.ok(allowance.takeRead(4000, 0));
  assert.equal(allowance.takeRead(1, 0), false);
  assert.ok(allowance.takeRead(1, 1000));
  const small = new Allowance(rate, 0);
  const taken = Array.from({ length: 100 }, () => small.takeRead(1, 0));
  assert.equal(taken.filter(Boolean).length, 21);
});

test('[RLY-01] a second takes at most a hundred pings and pongs, whatever its frames', () => {
  for (const [framesPerSecond, expected] of [
    [100_000, 100],
    [20, 20],
  ] as const) {
    const allowance = new Allowance({ framesPerSecond, bytesPerSecond: 1 }, 0);
    const taken = Array.from({ length: 500 }, () => allowance.takeControl(0));
    assert.equal(taken.filter(Boolean).length, expected);
    assert.equal(allowance.takeMessage(0), false);
  }
});

test('[RLY-01] an unproved device may send one hello, and the oldest large one makes room', () => {
  const large = new LargeHellos(256 * 1024);
  const evicted: number[] = [];
  const hellos = Array.from(
    { length: 65 },
    (_, index) => new HelloAllowance(large, () => evicted.push(index)),
  );
  for (const hello of hellos) assert.ok(hello.takeRead(16 * 1024));
  assert.deepEqual(evicted, []);
  for (const hello of hellos) assert.ok(hello.takeRead(1));
  assert.deepEqual(evicted, [0]);
  hellos[1]?.close();
  const [first, second] = hellos;
  assert.equal(second?.takeRead(300 * 1024), false);
  const controls = Array.from({ length: 10 }, () => first?.takeFrame());
  assert.equal(controls.filter(Boolean).length, 8);
  const slow = new HelloAllowance(large, () => {});
  const reads = Array.from({ length: 1000 }, () => slow.takeRead(1));
  assert.equal(reads.filter(Boolean).length, 512);
});

test('every pulse beats once per interval, and not after it has left', () => {
  const heartbeat = new Heartbeat(1600);
  assert.equal(heartbeat.tickMs, 100);
  const beats = Array.from({ length: 50 }, () => 0);
  const slots = beats.map((_, index) =>
    heartbeat.join({
      beat: () => {
        beats[index]! += 1;
      },
    }),
  );
  for (let tick = 0; tick < 16; tick++) heartbeat.tick();
  assert.ok(beats.every((count) => count === 1));
  const last = {
    beat: () => {
      heartbeat.leave(last, slot);
      beats[0]! += 100;
    },
  };
  const slot = heartbeat.join(last);
  for (let tick = 0; tick < 32; tick++) heartbeat.tick();
  assert.equal(beats[0], 103);
  assert.equal(new Set(slots).size, 16);
});

test('the backlog sums the sockets with queued bytes and forgets the others', () => {
  const backlog = new Backlog();
  const sockets = [{ queuedBytes: 10 }, { queuedBytes: 20 }];
  for (const socket of sockets) backlog.note('device', socket);
  backlog.note('host', { queuedBytes: 5 });
  assert.equal(backlog.queuedBytes('device'), 30);
  assert.equal(backlog.queuedBytes('host'), 5);
  sockets[0]!.queuedBytes = 0;
  assert.equal(backlog.queuedBytes('device'), 20);
  sockets[0]!.queuedBytes = 7;
  assert.equal(backlog.queuedBytes('device'), 20);
  backlog.forget('device', sockets[1]!);
  assert.equal(backlog.queuedBytes('device'), 0);
});
