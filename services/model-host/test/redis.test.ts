import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, makeAuthority, needsRedis, startRedis, tempDir } from '@zerolatency/testing';
import { checksOfHost } from '../src/app/config-checks.ts';
import { readHostConfig } from '../src/config.ts';
import { startTestHost, type TestHost } from './support/host.ts';
import { eventsOf, namesOf } from './support/streams.ts';

async function redisOf({ addresses }: TestHost): Promise<{ status: string; detail?: string }> {
  const report = await (await fetch(`${addresses.admin}/health`)).text();
  return JSON.parse(report).components.find(({ name }: { name: string }) => name === 'redis');
}

test(
  '[HOST-13] a pod takes turns while its Redis is away, and reports that it is',
  needsRedis(),
  async (t) => {
    const dir = tempDir(t);
    const tls = await (await makeAuthority(dir)).server();
    const passwordFile = join(dir, 'password');
    writeFileSync(passwordFile, 'secret\n');
    const options = { dir, tls, config: ['requirepass secret'] };
    const server = await startRedis(options);
    t.after(() => server.stop());
    const redis = {
      nodes: [`localhost:${server.port}`],
      password: { file: passwordFile },
      tls: { caFile: tls.caFile },
    };
    const host = await startTestHost(t, { settings: { redis } });
    await eventually(async () => (await redisOf(host)).status === 'ok');

    await server.stop();
    await eventually(async () => (await redisOf(host)).status === 'degraded');
    assert.match((await redisOf(host)).detail ?? '', /goes on by itself: .*ECONNREFUSED/);
    const client = host.client('grpc', await host.issuer.token());
    const events = namesOf(await eventsOf(client.chat({ start: { text: 'hello' } })));
    assert.equal(events.at(-1), 'assistantDone');

    const again = await startRedis({ ...options, port: server.port });
    t.after(() => again.stop());
    await eventually(async () => (await redisOf(host)).status === 'ok');
  },
);

test('[OPS-02] a check of the configuration reads the secrets of Redis', async () => {
  const config = readHostConfig({
    env: {},
    flags: {
      'rpc.cleartext': true,
      identity: { jwksFile: 'keys.json', issuer: 'i', audience: 'a' },
      ledger: { dir: 'ledger', key: { file: 'key.pem' } },
      redis: { nodes: ['[::1]:6379'], password: { env: 'SECRET' } },
    },
  });
  assert.deepEqual(config.redis?.nodes, [{ host: '::1', port: 6379 }]);
  const check = async (env: Record<string, string>) => await checksOfHost(config, env).redis?.();
  await assert.rejects(check({}), { id: 'config.invalid' });
  await check({ SECRET: 'one' });
});
