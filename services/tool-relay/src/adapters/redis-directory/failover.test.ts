import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import {
  eventually,
  needsRedis,
  type RedisServer,
  startRedis,
  startSentinel,
  tempDir,
} from '@zerolatency/testing';
import { silentLog } from '../../../test/parts.ts';
import { rawClient, redisPod } from '../../../test/redis-pods.ts';

const LAPTOP = { tenant: 'north', deviceId: 'laptop' };
const description = {
  connectedUnixMs: 1,
  bridgeVersion: '1',
  features: [],
  catalogDigest: 'A'.repeat(43),
};

test(
  '[RLY-02] [RLY-08] three Sentinels move the directory to the replica when its Redis dies',
  needsRedis(),
  async (t) => {
    const main = await startRedis({ dir: tempDir(t) });
    const replica = await startRedis({
      dir: tempDir(t),
      config: [`replicaof 127.0.0.1 ${main.port}`],
    });
    const sentinels: RedisServer[] = [];
    t.after(async () => {
      for (const server of [...sentinels, replica, main]) await server.stop();
    });
    // A Sentinel learns of the replica from the server, so the replica is there first.
    const observed = rawClient(t, main);
    await eventually(async () => /state=online/.test(await observed.info('replication')));
    for (let count = 0; count < 3; count++) {
      sentinels.push(await startSentinel({ dir: tempDir(t), of: main, quorum: 2 }));
    }
    const settings = {
      'directory.redis.mode': 'sentinel',
      'directory.redis.sentinelName': 'main',
      // The old server must not be waited for.
      'directory.redis.commandTimeout': '2s',
    };
    const { store, directory } = redisPod(t, sentinels, { settings });
    await store.open();
    await eventually(() => store.state.name === 'connected');
    const { lease } = await directory.acquire(LAPTOP, description);
    const [first] = sentinels;
    const watcher = rawClient(t, first!);
    await eventually(async () => {
      const known = await watcher.call('SENTINEL', 'MASTER', 'main');
      const fields = Array.isArray(known) ? known : [];
      const value = (name: string) => fields[fields.indexOf(name) + 1];
      return value('num-slaves') === '1' && value('num-other-sentinels') === '2';
    });
    await main.stop();
    // Sentinel takes a second or two; the rest is this pod's.
    await eventually(
      async () => {
        if (store.state.name !== 'connected') return false;
        return (await directory.renew([lease]).catch(() => [lease])).length === 0;
      },
      { timeoutMs: 60_000, everyMs: 50 },
    );
    assert.equal((await rawClient(t, replica).info('replication')).includes('role:master'), true);
    assert.equal((await directory.locate(LAPTOP))?.epoch, lease.epoch);
    assert.ok((await directory.acquire(LAPTOP, description)).lease.epoch > lease.epoch);
  },
);

test(
  '[RLY-08] a pod dials again where a Redis accepts its connection and then says nothing',
  needsRedis(),
  async (t) => {
    const redis = await startRedis({ dir: tempDir(t) });
    const sockets = new Set<Socket>();
    let isHung = true;
    const server = createServer((socket) => {
      sockets.add(socket.on('error', () => {}));
      if (isHung) return;
      const upstream = connect(redis.port, '127.0.0.1').on('error', () => socket.destroy());
      socket.pipe(upstream).pipe(socket);
    }).listen(0, '127.0.0.1');
    t.after(async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await redis.stop();
    });
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const settings = { 'directory.redis.commandTimeout': '1s' };
    const warnings: string[] = [];
    const log = {
      ...silentLog,
      warn: (_fields: object, message: string) => void warnings.push(message),
    };
    const { store } = redisPod(t, [{ port }], { settings, log });
    await store.open();
    assert.deepEqual(warnings, ['directory degraded: starting without Redis']);
    assert.equal(store.state.name, 'degraded');
    assert.ok(sockets.size > 0);
    isHung = false;
    await eventually(() => store.state.name === 'connected', { timeoutMs: 60_000, everyMs: 50 });
  },
);
