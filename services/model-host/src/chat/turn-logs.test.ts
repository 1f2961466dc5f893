import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { podTurnLogs } from '../../test/support/turn-bench.ts';
import type { Owner, PodTurnLogs, TurnLogsBounds } from './turn-logs.ts';

const ANN: Owner = { tenant: 'north', user: 'ann' };

function opened(bounds: Partial<TurnLogsBounds> = {}) {
  let nowMs = 0;
  const logs = podTurnLogs(bounds, () => nowMs);
  /** Returns what ends it. */
  const begin = (turnId: string, owner = ANN) => {
    const log = logs.open({ sessionId: 's', turnId });
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const cancelled: ZlError[] = [];
    logs.keep({ log, owner, ended, cancel: (error) => cancelled.push(error) });
    const end = async (text = '') => {
      log.delta(text);
      log.done({ steps: 1 });
      resolve();
      await ended;
    };
    return { log, cancelled, end };
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { logs, begin, pass };
}

async function isKept(logs: PodTurnLogs, turnId: string, owner = ANN): Promise<boolean> {
  return logs.find(turnId, owner).then(
    () => true,
    (error: ZlError) => {
      assert.equal(error.id, 'turn.not_found');
      return false;
    },
  );
}

test('[HOST-06] only the user who started a turn finds it or cancels it', async () => {
  const { logs, begin } = opened();
  const { cancelled } = begin('t');
  const error = new ZlError('turn.cancelled', 'enough');
  const messages = new Set<string>();
  for (const owner of [
    { tenant: 'south', user: 'ann' },
    { tenant: 'north', user: 'bob' },
  ]) {
    for (const turnId of ['t', 'unknown']) {
      const refused = (reason: ZlError) => {
        messages.add(`${reason.id} ${reason.message}`);
        return true;
      };
      await assert.rejects(logs.find(turnId, owner), refused);
      await assert.rejects(logs.cancel(turnId, owner, error), refused);
    }
  }
  assert.equal(messages.size, 1);
  assert.deepEqual(cancelled, []);
  await logs.cancel('t', ANN, error);
  assert.deepEqual(cancelled, [error]);
});

test('[HOST-06] a turn is kept while it runs and for the window after its end', async () => {
  const { logs, begin, pass } = opened({ windowMs: 1000 });
  const { end } = begin('t');
  pass(5000);
  assert.ok(await isKept(logs, 't'));
  await end();
  pass(999);
  assert.ok(await isKept(logs, 't'));
  pass(1);
  assert.equal(await isKept(logs, 't'), false);
  assert.equal(logs.bytes, 0);
});

test('an idle pod drops what has expired', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { logs, begin, pass } = opened({ windowMs: 1000 });
  await begin('t').end('said');
  assert.ok(logs.bytes > 0);
  pass(1000);
  t.mock.timers.tick(1000);
  assert.equal(logs.bytes, 0);
});

test('a tenant loses its own oldest turn to its bound, and no other tenant loses any', async () => {
  const text = 'x'.repeat(10_000);
  const { logs, begin } = opened({ maxBytesPerTenant: 35_000 });
  await begin('other', { tenant: 'south', user: 'ann' }).end(text);
  for (const turnId of ['1', '2', '3']) await begin(turnId).end(text);
  assert.deepEqual(
    [await isKept(logs, '1'), await isKept(logs, '2'), await isKept(logs, '3')],
    [false, true, true],
  );
  assert.ok(await isKept(logs, 'other', { tenant: 'south', user: 'ann' }));
});

test('the tenant that keeps the most makes room in a full pod', async () => {
  const text = 'x'.repeat(10_000);
  const { logs, begin } = opened({ maxBytesPerPod: 65_000 });
  const south = { tenant: 'south', user: 'ann' };
  await begin('small', south).end(text);
  for (let i = 0; i < 50; i += 1) await begin(`${i}`).end(text);
  assert.ok(logs.bytes <= 65_000);
  assert.ok(await isKept(logs, 'small', south));
  assert.ok(await isKept(logs, '49'));
  assert.equal(await isKept(logs, '0'), false);
});
