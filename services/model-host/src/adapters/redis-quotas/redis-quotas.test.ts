import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectRedis } from '@zerolatency/service/redis-client';
import {
  eventually,
  needsRedis,
  type RedisServer,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import fc from 'fast-check';
import { Quotas } from '../../limits/quotas.ts';
import { type Quota, Rules } from '../../limits/rules.ts';
import { RedisQuotas } from './redis-quotas.ts';

const LEASE_MS = 600;
let names = 0;

let shared: Promise<RedisServer> | undefined;
const sharedRedis = () => {
  shared ??= startRedis({ dir: tempDir({ after }) });
  return shared;
};
after(async () => (await shared)?.stop());

function quota({ amount = 10, perMs = 60_000, burst = 10 } = {}): Quota {
  const rate = { amount, per: `${perMs}ms`, perMs, burst };
  return { requests: rate, outputTokens: rate };
}

interface PoolOptions {
  readonly server: Pick<RedisServer, 'port'>;
  readonly pods: number;
  readonly tenant?: Quota;
  readonly user?: Quota;
  readonly timeoutMs?: number;
}

/** The limits of several pods, with a connection each. */
async function pool(t: TestContext, options: PoolOptions) {
  const { server, pods, tenant, user, timeoutMs = 10_000 } = options;
  const switches: string[] = [];
  const decided: Record<string, number> = {};
  const rules = new Rules({
    tenants: tenant === undefined ? {} : { default: tenant },
    users: user === undefined ? {} : { default: user },
  });
  const open = async () => {
    const redis = connectRedis(
      {
        mode: 'single',
        nodes: [{ host: '127.0.0.1', port: server.port }],
        ...{ sentinelName: '', username: '', commandTimeoutMs: timeoutMs },
      },
      {},
    );
    await redis.firstTry;
    const limits = new Quotas({
      ...{ rules, pods, leaseMs: LEASE_MS },
      store: new RedisQuotas({ redis, timeoutMs, leaseMs: LEASE_MS }),
      metrics: {
        decided: (by, isTaken) => {
          const key = `${by} ${isTaken}`;
          decided[key] = (decided[key] ?? 0) + 1;
        },
        refused() {},
        switched: (to) => switches.push(to),
      },
      log: { info() {}, warn() {} },
    });
    t.after(() => {
      limits.close();
      redis.close();
    });
    return { limits, redis };
  };
  const opened = await Promise.all(Array.from({ length: pods }, open));
  return {
    pods: opened.map(({ limits }) => limits),
    redis: opened.map(({ redis }) => redis),
    switches,
    decided,
  };
}

/** A tenant that no other test uses. */
function newTenant() {
  names += 1;
  return { tenant: `tenant-${names}`, user: 'one' };
}

async function isAdmitted(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (reason) {
    assert.equal(Reflect.get(Object(reason), 'id'), 'limit.exceeded');
    return false;
  }
}

test(
  '[HOST-12] pods together admit no more than the burst and what the limit adds',
  needsRedis(),
  async (t) => {
    const burst = 20;
    const perMs = 1000;
    const amount = 50;
    const rate = quota({ amount, perMs, burst });
    const { pods } = await pool(t, {
      server: await sharedRedis(),
      pods: 3,
      tenant: rate,
      user: rate,
    });
    const step = fc.record({
      pod: fc.nat({ max: 2 }),
      tokens: fc.integer({ min: 1, max: burst }),
      used: fc.nat({ max: burst }),
      user: fc.constantFrom('one', 'two'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1 }), { maxLength: 12 }),
        async (rounds) => {
          const { tenant } = newTenant();
          const beganMs = performance.now();
          let admitted = 0;
          let spent = 0;
          for (const round of rounds) {
            await Promise.all(
              round.map(async ({ pod, tokens, used, user }) => {
                const owner = { tenant, user };
                if (await isAdmitted(pods[pod]!.open(owner, 'turn'))) admitted += 1;
                try {
                  const settle = await pods[pod]!.reserve(owner, { outputTokens: tokens });
                  spent += Math.min(tokens, used);
                  settle({ outputTokens: Math.min(tokens, used) });
                } catch (reason) {
                  assert.equal(Reflect.get(Object(reason), 'id'), 'limit.exceeded');
                }
              }),
            );
          }
          const most = burst + ((performance.now() - beganMs) / perMs) * amount;
          assert.ok(admitted <= most + 1, `${admitted} turns of at most ${most}`);
          assert.ok(spent <= most + 1, `${spent} tokens of at most ${most}`);
        },
      ),
      { numRuns: 20 },
    );
  },
);

test(
  '[HOST-12] a refusal names when the limit admits again, and what was reserved and not used is given back',
  needsRedis(),
  async (t) => {
    const { pods } = await pool(t, {
      server: await sharedRedis(),
      pods: 2,
      user: quota({ perMs: 600_000 }),
    });
    const owner = newTenant();
    const [one, two] = pods;
    const settle = await one!.reserve(owner, { outputTokens: 10 });
    await assert.rejects(
      two!.reserve(owner, { outputTokens: 2 }),
      (error: { retryAfterMs: number; message: string }) => {
        // Two of ten in ten minutes.
        assert.ok(
          error.retryAfterMs >= 110_000 && error.retryAfterMs <= 160_000,
          `${error.retryAfterMs}`,
        );
        assert.match(
          error.message,
          /user has used up its output tokens, limits\.users\.default\.outputTokens is 10 per/,
        );
        return true;
      },
    );
    settle({ outputTokens: 1 });
    await eventually(() => isAdmitted(two!.reserve(owner, { outputTokens: 8 })));
    await assert.rejects(two!.reserve(owner, { outputTokens: 11 }), { id: 'request.too_large' });
  },
);

test('[HOST-12] one limit that refuses leaves the others as they were', needsRedis(), async (t) => {
  const few = { requests: { amount: 1, per: '1h', perMs: 3_600_000, burst: 1 } };
  const { pods } = await pool(t, {
    server: await sharedRedis(),
    pods: 1,
    tenant: quota({ perMs: 3_600_000, burst: 3 }),
    user: few,
  });
  const { tenant } = newTenant();
  const open = (user: string) => isAdmitted(pods[0]!.open({ tenant, user }, 'turn'));
  assert.deepEqual([await open('a'), await open('a'), await open('a')], [true, false, false]);
  assert.deepEqual([await open('b'), await open('c'), await open('d')], [true, true, false]);
});

test(
  '[HOST-12] a sender that was refused is refused without Redis until the limit admits again',
  needsRedis(),
  async (t) => {
    const { pods, decided } = await pool(t, {
      server: await sharedRedis(),
      pods: 1,
      user: quota({ perMs: 3_600_000, burst: 1 }),
    });
    const owner = newTenant();
    await pods[0]!.open(owner, 'first');
    for (let n = 0; n < 100; n += 1)
      assert.equal(await isAdmitted(pods[0]!.open(owner, 'more')), false);
    assert.deepEqual(decided, { 'redis true': 1, 'redis false': 1, 'cache false': 99 });
  },
);

test(
  '[HOST-12] open turns count over all pods, and those of a dead pod come back',
  needsRedis(),
  async (t) => {
    const { pods, redis } = await pool(t, {
      server: await sharedRedis(),
      pods: 2,
      user: { turns: 2 },
    });
    const owner = newTenant();
    const [one, two] = pods;
    const end = await one!.open(owner, 'first');
    await one!.open(owner, 'second');
    // The lease is renewed while its pod lives.
    await sleep(2 * LEASE_MS);
    assert.equal(await isAdmitted(two!.open(owner, 'third')), false);
    end();
    await eventually(() => isAdmitted(two!.open(owner, 'third')));
    one!.close();
    redis[0]!.close();
    await eventually(() => isAdmitted(two!.open(owner, 'fourth')));
  },
);

test(
  '[HOST-12] without Redis each pod grants its share, and nothing is granted again when it is back',
  needsRedis(),
  async (t) => {
    const dir = tempDir(t);
    const server = await startRedis({ dir });
    t.after(() => server.stop());
    const rate = quota({ perMs: 3_600_000, burst: 12, amount: 12 });
    const { pods, switches } = await pool(t, { server, pods: 3, tenant: rate, timeoutMs: 500 });
    const owner = newTenant();
    const grants = async (pod: number) => {
      let count = 0;
      while (await isAdmitted(pods[pod]!.open(owner, `${pod}-${count}`))) count += 1;
      return count;
    };
    // Three are granted while Redis is there, by the first pod.
    for (const id of ['a', 'b', 'c']) await pods[0]!.open(owner, id);
    await server.stop();
    // Its share is four, of which three are gone.
    assert.deepEqual([await grants(0), await grants(1)], [1, 4]);
    assert.deepEqual(switches, ['pod', 'pod']);
    const again = await startRedis({ dir, port: server.port });
    t.after(() => again.stop());
    await eventually(() => pods[0]!.isShared && pods[1]!.isShared);
    // It has forgotten the three; five were told to it.
    assert.equal(await grants(2), 7);
  },
);

test(
  '[HOST-12] a Redis that hangs, has forgotten everything or holds what is not ours refuses nobody',
  needsRedis(),
  async (t) => {
    const dir = tempDir(t);
    const server = await startRedis({ dir });
    t.after(() => server.stop());
    const { pods, redis, switches } = await pool(t, {
      server,
      pods: 1,
      tenant: quota({ amount: 1000, burst: 1000 }),
      timeoutMs: 300,
    });
    const owner = newTenant();
    const lua = (text: string) => redis[0]!.run({ lua: text, sha1: '0'.repeat(40) }, [], []);
    await lua(
      "redis.call('FLUSHALL') redis.call('SET', 'zl:limits:{" +
        owner.tenant +
        "}', 'not ours') return 1",
    );
    await pods[0]!.open(owner, 'after a flush');
    assert.deepEqual(switches, []);
    process.kill(server.pid, 'SIGSTOP');
    await pods[0]!.open(owner, 'while it hangs');
    assert.deepEqual(switches, ['pod']);
    process.kill(server.pid, 'SIGCONT');
    await eventually(() => pods[0]!.isShared);
  },
);
