import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { connectRedis } from '@zerolatency/service/redis-client';
import {
  eventually,
  needsRedis,
  type RedisServer,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { rawClient } from '../../test/redis-pods.ts';
import { readRelayConfig } from '../config.ts';
import { CODE_LIMITS, type CodeStore } from '../registrar/code-store.ts';
import { MemoryCodes } from './memory-codes/memory-codes.ts';
import { RedisCodes, type RedisCodesOptions } from './redis-codes/redis-codes.ts';

const START_MS = 1_800_000_000_000;

type Clock = RedisCodesOptions['clock'];

interface Store {
  readonly skip: string | false;
  open(t: TestContext, clock: Clock): CodeStore | Promise<CodeStore>;
}

let shared: Promise<RedisServer> | undefined;
const sharedRedis = () => {
  shared ??= startRedis({ dir: tempDir({ after }) });
  return shared;
};
after(async () => (await shared)?.stop());

/** Every store is held to the same contract. */
const STORES: Record<string, Store> = {
  memory: { skip: false, open: (_, clock) => new MemoryCodes(clock) },
  redis: {
    ...needsRedis(),
    open: async (t, clock) => {
      const server = await sharedRedis();
      await rawClient(t, server).flushall();
      return redisCodes(t, server, clock);
    },
  },
};

async function openStore(t: TestContext, { open }: Store) {
  const clock = { nowMs: START_MS, unixMs: () => clock.nowMs };
  return { clock, codes: await open(t, clock) };
}

function redisCodes(t: TestContext, { port }: Pick<RedisServer, 'port'>, clock: Clock) {
  const { directory } = readRelayConfig({
    env: {},
    flags: {
      tls: { certFile: 'cert.pem', keyFile: 'key.pem', caFile: 'ca.pem' },
      'enrolment.jwksFile': 'keys.json',
      'directory.redis.nodes': [`127.0.0.1:${port}`],
      'directory.redis.commandTimeout': '10s',
    },
  });
  const codes = new RedisCodes({
    clock,
    redis: connectRedis(directory.redis, {}),
  });
  t.after(() => codes.close());
  return codes;
}

const invitation = {
  tenant: 'north',
  deviceId: 'laptop',
  issuedAtMs: START_MS,
  expiresAtMs: START_MS + 60_000,
};

for (const [name, store] of Object.entries(STORES)) {
  const { skip } = store;
  test(`[BRG-04] ${name}: a code is taken once, with what it stands for`, { skip }, async (t) => {
    const { codes } = await openStore(t, store);
    assert.equal(await codes.add('hash', invitation), 'added');
    assert.equal(await codes.has('hash'), true);
    const taken = await Promise.all([1, 2, 3].map(() => codes.take('hash')));
    assert.deepEqual(
      taken.filter((each) => each !== undefined),
      [invitation],
    );
    assert.equal(await codes.has('hash'), false);
    assert.equal(await codes.take('other'), undefined);
  });

  test(`[BRG-04] ${name}: an expired code is neither known nor taken`, { skip }, async (t) => {
    const { clock, codes } = await openStore(t, store);
    await codes.add('first', invitation);
    await codes.add('second', invitation);
    clock.nowMs = invitation.expiresAtMs - 1;
    assert.deepEqual(await codes.take('first'), invitation);
    clock.nowMs += 1;
    assert.equal(await codes.has('second'), false);
    assert.equal(await codes.take('second'), undefined);
  });

  test(`[BRG-04] ${name}: a code that is given back can be taken again`, { skip }, async (t) => {
    const { codes } = await openStore(t, store);
    await codes.add('hash', invitation);
    const taken = await codes.take('hash');
    assert.ok(taken);
    await codes.add('hash', taken);
    assert.deepEqual(await codes.take('hash'), invitation);
  });

  test(`[BRG-04] ${name}: the open codes of a tenant, and of all, are bounded`, {
    skip,
  }, async (t) => {
    const { clock, codes } = await openStore(t, store);
    const fill = async (tenant: string, count: number) => {
      const hashes = Array.from({ length: count }, (_, index) => `${tenant} ${index}`);
      const added = hashes.map((hash) => codes.add(hash, { ...invitation, tenant }));
      return (await Promise.all(added)).filter((each) => each === 'added').length;
    };
    const { tenant, all } = CODE_LIMITS;
    assert.equal(await fill('north', tenant + 50), tenant);
    assert.equal(await codes.add('one more', invitation), 'tenant is full');
    assert.equal(await codes.add('north 7', invitation), 'added', 'it is open already');
    await codes.take('north 0');
    assert.equal(await codes.add('one more', invitation), 'added', 'a used code makes room');
    for (let others = 1; others < all / tenant; others++) await fill(`tenant-${others}`, tenant);
    assert.equal(await codes.add('last', { ...invitation, tenant: 'south' }), 'store is full');
    assert.equal(await codes.has('one more'), true);
    clock.nowMs = invitation.expiresAtMs;
    const later = { ...invitation, expiresAtMs: clock.nowMs + 60_000 };
    assert.equal(await codes.add('later', later), 'added');
  });
}

test(
  '[BRG-04] redis: codes outlive the registrar, and nonsense is no code',
  needsRedis(),
  async (t) => {
    const clock = { unixMs: () => START_MS };
    const server = await sharedRedis();
    const client = rawClient(t, server);
    await client.flushall();
    await redisCodes(t, server, clock).add('hash', invitation);
    const ttlMs = await client.pttl('zl:code:hash');
    assert.ok(ttlMs > 0 && ttlMs <= 60_000, String(ttlMs));
    const restarted = redisCodes(t, server, clock);
    assert.deepEqual(await restarted.take('hash'), invitation);
    for (const value of [
      '',
      'null',
      '[]',
      '{"tenant":1}',
      '{"tenant":"a","deviceId":"b","expiresAtMs":1e15}',
    ]) {
      await client.set('zl:code:hash', value);
      assert.equal(await restarted.take('hash'), undefined, value);
    }
  },
);

test(
  '[BRG-04] redis: without its Redis the registrar says so, and goes on when it is back',
  needsRedis(),
  async (t) => {
    const dir = tempDir(t);
    const first = await startRedis({ dir });
    const codes = redisCodes(t, first, { unixMs: () => START_MS });
    assert.equal(await codes.add('hash', invitation), 'added');
    assert.equal(codes.status().status, 'ok');
    await first.stop();
    const taken = codes.take('hash');
    await assert.rejects(taken, { id: 'peer.unavailable', message: /Redis with its codes/ });
    await eventually(() => codes.status().status === 'degraded');
    const second = await startRedis({ dir, port: first.port });
    t.after(() => second.stop());
    await eventually(() => codes.status().status === 'ok');
    assert.equal(await codes.take('hash'), undefined);
  },
);
