import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Costs } from './costs.ts';
import { EventQueue } from './event-queue.ts';
import { NOWHERE } from './fleet.ts';
import { defaults, type Event, execute } from './scenarios.ts';
import type { Setup } from './setup.ts';
import { Simulation } from './simulation.ts';

const COSTS: Costs = {
  refuse: 60,
  tls: 900,
  proof: 700,
  heartbeat: 30,
  call: 15,
  renewOnPod: 10,
  redisAcquire: 20,
  redisRenew: 15,
  redisLocate: 8,
  redisRelease: 12,
  clientTls: 1000,
  clientProof: 500,
};

function small(changes: Partial<Setup> = {}): Setup {
  return { ...defaults(COSTS), devices: 3000, pods: 6, maxMs: 600_000, ...changes };
}

test('the event queue returns events by time, and those of one time in the order they came', () => {
  const pushes = fc.array(fc.option(fc.integer({ min: 0, max: 20 }), { nil: undefined }), {
    maxLength: 300,
  });
  fc.assert(
    fc.property(pushes, (steps) => {
      const queue = new EventQueue();
      const waiting: { atMs: number; subject: number }[] = [];
      const popped = { atMs: 0, kind: 0, subject: 0, attempt: 0 };
      for (const [subject, atMs] of steps.entries()) {
        if (atMs === undefined) {
          const [first] = waiting.sort((a, b) => a.atMs - b.atMs || a.subject - b.subject);
          assert.equal(queue.pop(popped), first !== undefined);
          if (first === undefined) continue;
          waiting.shift();
          assert.deepEqual(
            { ...popped },
            { ...first, kind: first.subject % 20, attempt: first.subject * 7 },
          );
        } else {
          queue.push({ atMs, subject, kind: subject % 20, attempt: subject * 7 });
          waiting.push({ atMs, subject });
        }
        assert.equal(queue.size, waiting.length);
      }
    }),
  );
});

test('every device is live on one pod or away, whatever happens to the pods', () => {
  const plans = fc.record({
    seed: fc.nat(),
    width: fc.constantFrom(undefined, 1, 3),
    killed: fc.uniqueArray(fc.nat({ max: 4 }), { maxLength: 3 }),
    drained: fc.nat({ max: 5 }),
    joining: fc.constantFrom(0, 500),
    shedPerSecond: fc.constantFrom(50, 1000, Number.POSITIVE_INFINITY),
    isMakeBeforeBreak: fc.boolean(),
    maxUnproved: fc.constantFrom(20, 2000),
  });
  fc.assert(
    fc.property(plans, ({ killed, drained, joining, seed, width, maxUnproved, ...drain }) => {
      const base = small();
      const simulation = new Simulation({
        ...base,
        ...{ seed, width, joining },
        drain: {
          ...base.drain,
          ...drain,
          returnPerSecond: drain.shedPerSecond,
          deadlineMs: 600_000,
          pods: 0,
        },
        relay: { ...base.relay, maxUnproved },
      });
      const { fleet, pods, observer } = simulation.world;
      if (joining > 0) simulation.joinWithin(1000);
      simulation.life.kill(killed);
      if (!killed.includes(drained)) simulation.life.drain(drained);
      const { missing } = simulation.run(0);
      const live = Array.from({ length: base.devices }, (_, device) => fleet.live[device]);
      for (const [index, pod] of pods.entries()) {
        assert.equal(live.filter((place) => place === index).length, pod.live);
        if (!pod.isUp) assert.equal(pod.live, 0);
      }
      assert.equal(live.filter((place) => place === NOWHERE).length, observer.away);
      assert.equal(missing, 0);
      assert.equal(observer.away, 0);
    }),
    { numRuns: 12 },
  );
});

test('a seed gives one result, and another seed another', () => {
  const lossOf = (seed: number) =>
    execute({ event: 'loss', name: '', changes: {} }, small({ seed }));
  assert.deepEqual(lossOf(1), lossOf(1));
  assert.notDeepEqual(lossOf(1).p99Ms, lossOf(2).p99Ms);
});

test('a slower shed keeps the pods that take in devices cooler', () => {
  const peak = (shedPerSecond: number) => {
    const base = small();
    const changes = { drain: { ...base.drain, shedPerSecond, deadlineMs: 600_000, pods: 1 } };
    return execute({ event: 'deploy', name: '', changes }, base).peakCpu;
  };
  assert.ok(peak(20) < peak(Number.POSITIVE_INFINITY) / 2);
});

test('all leases are written again after Redis was away', () => {
  const redis: Event = 'redis';
  const result = execute({ event: redis, name: '', changes: {} }, small());
  assert.equal(result.missing, 0);
  assert.ok(result.allMs > 0 && result.allMs < 10_000, `${result.allMs} ms`);
});
