import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { eventually } from '@zerolatency/testing';
import type { ClientOptions } from 'ws';
import { DeviceClient } from './device-client.ts';
import { openSocket } from './frame-socket.ts';
import { openProxied, proxyHeader } from './proxied.ts';
import { closeOf } from './raw-socket.ts';
import { relayWorld } from './relay-world.ts';

/** One address may connect ten times at once. */
const BURST = 10;
const ADDRESSES = Array.from({ length: 3 * BURST }, (_, index) => `198.51.100.${index}`);

async function balancedWorld(t: TestContext, proxyProtocol: 'v2' | 'forwarded-for') {
  const settings = {
    'sockets.proxyProtocol': proxyProtocol,
    'sockets.trustedProxies': ['127.0.0.1'],
    'devices.connectsPerAddress': 1,
    'devices.handshake': '2s',
  };
  const world = await relayWorld(t, { settings });
  const { authority, relay } = world;
  const target = { port: Number(new URL(relay.socketUrl).port), ca: authority.ca };
  const throughBalancer = (address: string): ClientOptions =>
    proxyProtocol === 'v2'
      ? {
          createConnection: () => {
            const socket = openProxied(target, proxyHeader(address));
            return connectTls({ socket, servername: 'localhost', ca: target.ca });
          },
        }
      : { headers: { 'x-forwarded-for': `203.0.113.9, ${address}` } };
  const dial = (address: string, options: ClientOptions = throughBalancer(address)) => {
    const client = new DeviceClient(
      openSocket(`${relay.socketUrl}/v1/device`, { ca: target.ca, ...options }),
    );
    t.after(() => client.native.terminate());
    return client;
  };
  const unadmitted = async (reason: string) => {
    const line = new RegExp(`^zl_relay_unadmitted_total\\{.*reason="${reason}".*\\} (\\d+)$`, 'm');
    return Number(line.exec(await world.metrics())?.[1] ?? 0);
  };
  return { ...world, target, dial, unadmitted };
}

for (const proxyProtocol of ['v2', 'forwarded-for'] as const) {
  test(`[RLY-01] devices behind one balancer are limited by their own addresses (${proxyProtocol})`, async (t) => {
    const { dial, enrolment, unadmitted } = await balancedWorld(t, proxyProtocol);
    await Promise.all(ADDRESSES.map((address) => dial(address).challenge()));
    assert.equal(await unadmitted('rate'), 0);
    const [busy = ''] = ADDRESSES;
    const dialled = Array.from({ length: 2 * BURST }, () => dial(busy));
    await eventually(() => dialled.some(({ closed }) => closed?.code === 1006));
    await eventually(async () => (await unadmitted('rate')) > 0);
    const honest = dial('192.0.2.7');
    await honest.prove(await enrolment.device({ deviceId: 'honest' }));
    await honest.welcome();
  });
}

test('[RLY-01] only listed addresses may send a PROXY header, and they must', async (t) => {
  const { dial, target, unadmitted } = await balancedWorld(t, 'v2');
  await closeOf(openProxied(target, proxyHeader('198.51.100.1'), '127.0.0.2').resume());
  assert.equal(await unadmitted('proxy'), 1);
  assert.equal((await dial('', {}).end()).code, 1006);
  assert.equal(await unadmitted('proxy'), 2);
  const slow = openProxied(target, proxyHeader('198.51.100.1').subarray(0, 20)).resume();
  await closeOf(slow);
  assert.equal(await unadmitted('late'), 1);
});

test('[RLY-01] the addresses that a stranger claims to connect for do not count', async (t) => {
  const { dial, unadmitted } = await balancedWorld(t, 'forwarded-for');
  const dialled = ADDRESSES.map((address) =>
    dial(address, { localAddress: '127.0.0.2', headers: { 'x-forwarded-for': address } }),
  );
  await eventually(() => dialled.filter(({ closed }) => closed?.code === 1006).length >= BURST);
  assert.ok((await unadmitted('rate')) >= BURST);
});
