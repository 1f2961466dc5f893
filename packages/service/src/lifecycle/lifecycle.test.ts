import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { Lifecycle } from './lifecycle.ts';

const ENDLESS_MS = 1_000_000;

test('[HOST-10] hooks run one after another, the latest registered first', async () => {
  const lifecycle = new Lifecycle();
  const seen: string[] = [];
  for (const name of ['ledger', 'calls', 'server']) {
    lifecycle.onDrain(name, async () => {
      seen.push(`${name} begins`);
      await Promise.resolve();
      seen.push(`${name} ends`);
    });
  }
  lifecycle.markReady();
  assert.equal(lifecycle.accepting, true);
  const done = lifecycle.shutdown({ reason: 'test', deadlineMs: ENDLESS_MS });
  assert.equal(lifecycle.state, 'draining');
  assert.equal(lifecycle.accepting, false);
  await done;
  assert.equal(lifecycle.state, 'stopped');
  assert.deepEqual(
    seen,
    ['server', 'calls', 'ledger'].flatMap((name) => [`${name} begins`, `${name} ends`]),
  );
});

test('[HOST-10] hooks run in the stated order, whatever order they were registered in', async () => {
  const lifecycle = new Lifecycle();
  const seen: string[] = [];
  lifecycle.drainOrder(['sockets', 'leases', 'tracing']);
  for (const name of ['leases', 'other', 'sockets', 'tracing', 'latest']) {
    lifecycle.onDrain(name, async () => {
      seen.push(name);
      if (name === 'tracing') lifecycle.onDrain('sockets', async () => void seen.push('late'));
    });
  }
  await lifecycle.shutdown({ reason: 'test', deadlineMs: ENDLESS_MS });
  assert.deepEqual(seen, ['sockets', 'leases', 'tracing', 'late', 'latest', 'other']);
});

test('shutdown asked twice is one shutdown', async () => {
  const lifecycle = new Lifecycle();
  let runs = 0;
  lifecycle.onDrain('once', async () => {
    runs++;
  });
  const request = { reason: 'test', deadlineMs: ENDLESS_MS };
  await Promise.all([lifecycle.shutdown(request), lifecycle.shutdown(request)]);
  await lifecycle.shutdown(request);
  assert.equal(runs, 1);
});

test('[HOST-10] at the deadline running work is aborted with a typed error', async () => {
  const lifecycle = new Lifecycle();
  lifecycle.onDrain('turns', async (deadline) => {
    await once(deadline, 'abort');
    assert.ok(deadline.reason instanceof ZlError);
    assert.equal(deadline.reason.id, 'server.draining');
  });
  await lifecycle.shutdown({ reason: 'test', deadlineMs: 5 });
  assert.equal(lifecycle.stopping.aborted, true);
  assert.equal(lifecycle.state, 'stopped');
  assert.deepEqual(lifecycle.failures, []);
});

test('a hook taken away does not run, one registered while draining does', async () => {
  const lifecycle = new Lifecycle();
  const seen: string[] = [];
  const remove = lifecycle.onDrain('removed', async () => void seen.push('removed'));
  lifecycle.onDrain('first', async () => {
    lifecycle.onDrain('late', async () => void seen.push('late'));
  });
  remove();
  await lifecycle.shutdown({ reason: 'test', deadlineMs: ENDLESS_MS });
  assert.deepEqual(seen, ['late']);
});

test('listeners hear of each state once', async () => {
  const lifecycle = new Lifecycle();
  const seen: string[] = [];
  const remove = lifecycle.onChange((state) => seen.push(state));
  lifecycle.onChange(() => remove());
  lifecycle.markReady();
  lifecycle.markReady();
  await lifecycle.shutdown({ reason: 'test', deadlineMs: ENDLESS_MS, error: new Error('x') });
  assert.deepEqual(seen, ['ready']);
  assert.equal(lifecycle.state, 'failed');
});

const behaviour = fc.constantFrom('returns', 'throws', 'rejects', 'waits', 'hangs');

function hookOf(kind: string): (deadline: AbortSignal) => Promise<void> {
  switch (kind) {
    case 'throws':
      return () => {
        throw new Error('thrown');
      };
    case 'rejects':
      return () => Promise.reject(new Error('rejected'));
    case 'waits':
      return async (deadline) => {
        if (!deadline.aborted) await once(deadline, 'abort');
      };
    case 'hangs':
      return () => new Promise(() => {});
    default:
      return () => Promise.resolve();
  }
}

test('whatever hooks do, all of them are run and the shutdown ends', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(behaviour, { maxLength: 6 }), async (kinds) => {
      const reported: string[] = [];
      const lifecycle = new Lifecycle({
        forceGraceMs: 2,
        onHookError: (name) => reported.push(name),
      });
      const run: string[] = [];
      for (const [index, kind] of kinds.entries()) {
        lifecycle.onDrain(`${index} ${kind}`, (deadline) => {
          run.unshift(kind);
          return hookOf(kind)(deadline);
        });
      }
      await lifecycle.shutdown({ reason: 'test', deadlineMs: 1 });
      assert.deepEqual(run, kinds);
      assert.equal(lifecycle.state, 'stopped');
      const bad = kinds.filter((kind) => !['returns', 'waits'].includes(kind));
      assert.equal(lifecycle.failures.length, bad.length);
      assert.deepEqual(
        reported,
        lifecycle.failures.map(({ name }) => name),
      );
    }),
    { numRuns: 50 },
  );
});

test('a paused service takes no new work until every pause is over, and says why', () => {
  const lifecycle = new Lifecycle();
  lifecycle.markReady();
  const seen: boolean[] = [];
  lifecycle.onChange(() => seen.push(lifecycle.accepting));
  const goOn = lifecycle.pause('the disk is full');
  const goOnToo = lifecycle.pause('the clock is wrong');
  assert.deepEqual(lifecycle.obstacles, ['the disk is full', 'the clock is wrong']);
  goOn();
  assert.equal(lifecycle.accepting, false);
  goOnToo();
  goOnToo();
  assert.deepEqual(lifecycle.obstacles, []);
  assert.deepEqual(seen, [false, true]);
});
