import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Breaker, type Permit } from './breaker.ts';

const OPTIONS = { openForMs: 1_000, maxOpenForMs: 8_000 };

function breakerAt(clock: { nowMs: number }): Breaker {
  return new Breaker(OPTIONS, () => clock.nowMs);
}

function fail(breaker: Breaker, times: number): void {
  for (let n = 0; n < times; n += 1) breaker.enter()?.failed();
}

test('[PROV-03] opens after five failures, and sends one probe when its time has passed', () => {
  const clock = { nowMs: 0 };
  const breaker = breakerAt(clock);
  fail(breaker, 4);
  assert.equal(breaker.state, 'closed');
  fail(breaker, 1);
  assert.equal(breaker.state, 'open');
  assert.equal(breaker.enter(), undefined);
  clock.nowMs += OPTIONS.openForMs;
  const probe = breaker.enter();
  assert.ok(probe !== undefined);
  assert.deepEqual([breaker.state, breaker.enter()], ['half-open', undefined]);
  probe.succeeded();
  assert.equal(breaker.state, 'closed');
});

test('[PROV-03] opens when half of the last ten requests failed', () => {
  const breaker = breakerAt({ nowMs: 0 });
  for (let n = 0; n < 20 && breaker.state === 'closed'; n += 1) {
    breaker.enter()?.succeeded();
    breaker.enter()?.failed();
  }
  assert.equal(breaker.state, 'open');
  const mostlyFine = breakerAt({ nowMs: 0 });
  for (let n = 0; n < 100; n += 1) {
    for (let fine = 0; fine < 3; fine += 1) mostlyFine.enter()?.succeeded();
    mostlyFine.enter()?.failed();
  }
  assert.equal(mostlyFine.state, 'closed');
});

test('[PROV-03] stays open longer with each failed probe, up to a bound, and as long as the provider asks', () => {
  const clock = { nowMs: 0 };
  const breaker = breakerAt(clock);
  fail(breaker, 5);
  const waits: number[] = [];
  for (let n = 0; n < 10; n += 1) {
    waits.push(breaker.retryAfterMs);
    clock.nowMs += breaker.retryAfterMs;
    fail(breaker, 1);
  }
  // Each wait is a random part of its range, so only ends are compared.
  assert.ok((waits[0] ?? 0) <= OPTIONS.openForMs);
  assert.ok((waits.at(-1) ?? 0) >= OPTIONS.maxOpenForMs / 2);
  assert.ok(Math.max(...waits) <= OPTIONS.maxOpenForMs);
  clock.nowMs += breaker.retryAfterMs;
  breaker.enter()?.failed(3_600_000);
  assert.equal(breaker.retryAfterMs, OPTIONS.maxOpenForMs);
});

test('[PROV-03] a probe that the client cancels leaves its place to the next request', () => {
  const clock = { nowMs: 0 };
  const breaker = breakerAt(clock);
  fail(breaker, 5);
  clock.nowMs += OPTIONS.openForMs;
  breaker.enter()?.abandoned();
  assert.equal(breaker.state, 'open');
  breaker.enter()?.succeeded();
  assert.equal(breaker.state, 'closed');
});

const anyStep = fc.oneof(
  fc.record({ do: fc.constant('enter' as const) }),
  fc.record({ do: fc.constantFrom('succeeded', 'failed', 'abandoned'), which: fc.nat(20) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.nat(10_000) }),
);

test('[PROV-03] never has more than one probe, and requests from before a change decide nothing', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 200 }), (steps) => {
      const clock = { nowMs: 0 };
      const breaker = breakerAt(clock);
      const running: { permit: Permit; isProbe: boolean; changes: number }[] = [];
      let changes = 0;
      for (const step of steps) {
        const before = breaker.state;
        if (step.do === 'wait') clock.nowMs += 'ms' in step ? step.ms : 0;
        else if (step.do === 'enter') {
          const permit = breaker.enter();
          if (breaker.state !== before) changes += 1;
          const isProbe = breaker.state === 'half-open';
          if (permit) running.push({ permit, isProbe, changes });
          else assert.notEqual(before, 'closed');
        } else {
          const index = 'which' in step ? step.which : 0;
          const [ended] = running.splice(index, 1);
          if (step.do === 'failed') ended?.permit.failed();
          else if (step.do === 'succeeded') ended?.permit.succeeded();
          else ended?.permit.abandoned();
          if (ended && ended.changes !== changes) assert.equal(breaker.state, before);
          if (breaker.state !== before) changes += 1;
        }
        const probes = running.filter((one) => one.isProbe && one.changes === changes);
        assert.equal(probes.length, breaker.state === 'half-open' ? 1 : 0);
      }
    }),
  );
});
