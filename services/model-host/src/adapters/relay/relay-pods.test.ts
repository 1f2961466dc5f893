import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { dnsServer } from '../../../test/relay/dns-server.ts';
import { EchoDevice } from '../../../test/relay/echo-device.ts';
import { relayWorld } from '../../../test/relay/relay-world.ts';
import { RelayPods } from './relay-pods.ts';

const never = AbortSignal.any([]);

test('[RLY-04] finds the pods behind a name, and checks their certificates for the name', async (t) => {
  const { port } = await dnsServer(t, ['127.0.0.7', '127.0.0.1']);
  const urls = [`dns://127.0.0.1:${port}/relays.test:8445`, 'https://one.test:1'];
  assert.deepEqual(await new RelayPods(urls).current(), [
    { url: 'https://one.test:1' },
    { url: 'https://127.0.0.7:8445', serverName: 'relays.test' },
    { url: 'https://127.0.0.1:8445', serverName: 'relays.test' },
  ]);
});

test("[RLY-04] a name without a server is the system's to resolve", async () => {
  const pods = await new RelayPods(['dns:///localhost:8445']).current();
  assert.ok(
    pods.some(({ url }) => url === 'https://127.0.0.1:8445' || url === 'https://[::1]:8445'),
  );
});

test('[RLY-04] asks a name once for a while, and again when no pod answers', async (t) => {
  const server = await dnsServer(t, ['127.0.0.7']);
  const pods = new RelayPods([`dns://127.0.0.1:${server.port}/relays.test:1`]);
  for (let n = 0; n < 5; n += 1) await pods.current();
  // Once for each family of addresses.
  assert.equal(server.asked, 2);
  server.addresses = ['127.0.0.8'];
  pods.doubt();
  await eventually(async () => (await pods.current())[0]?.url === 'https://127.0.0.8:1');
  server.addresses = [];
  pods.doubt();
  const { asked } = server;
  await pods.current();
  await eventually(() => server.asked === asked + 2);
  assert.equal((await pods.current()).length, 1, 'a name that does not resolve keeps its pods');
});

test('[RLY-04] reaches a device by a name whose first pod is gone, and later by one that came', async (t) => {
  const { host, relays, enrol } = await relayWorld(t);
  const server = await dnsServer(t, ['127.0.0.7']);
  const rpcPort = new URL(relays[0]!.rpcUrl).port;
  const named = (name: string) => [`dns://127.0.0.1:${server.port}/${name}:${rpcPort}`];
  relays[0]!.connect(new EchoDevice(await enrol('laptop')));
  const devices = host({ urls: named('localhost'), limits: { connectWaitMs: 60_000 } });
  const ready = devices.route('north', 'laptop').ready(never);
  await eventually(() => server.asked > 2);
  server.addresses = ['127.0.0.7', '127.0.0.1'];
  assert.equal((await ready).epoch, 1);
  const stranger = host({ urls: named('other.test'), limits: { connectWaitMs: 500 } });
  await assert.rejects(stranger.route('north', 'laptop').ready(never), { id: 'relay.unreachable' });
});

test('[RLY-04] asks the next pod beside one that does not answer', async (t) => {
  const { host, relays, enrol } = await relayWorld(t);
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const address = silent.address();
  assert.ok(typeof address === 'object' && address !== null);
  relays[0]!.connect(new EchoDevice(await enrol('laptop')));
  const devices = host({
    urls: [`https://127.0.0.1:${address.port}`, relays[0]!.rpcUrl],
    limits: { connectWaitMs: 60_000, dialTimeoutMs: 3_600_000, hedgeMs: 10 },
  });
  assert.equal((await devices.route('north', 'laptop').ready(never)).epoch, 1);
});

test('[RLY-04] closes the link to a pod that owns nothing in use', async (t) => {
  const limits = { routeIdleMs: 1, linkIdleMs: 1 };
  const { devices, relays, enrol } = await relayWorld(t, { limits });
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  await devices.route('north', 'laptop').ready(never);
  await eventually(() => relay!.links === 0);
  assert.deepEqual(devices.status(), { links: [], routes: 0 });
  assert.equal((await devices.route('north', 'laptop').ready(never)).epoch, 1);
});
