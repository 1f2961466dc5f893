import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { ENGINES, engineWorld, localBalancers } from '../../test/engine-world.ts';
import { dialOver, openProxied, proxyHeader } from '../../test/proxied.ts';
import { closeOf } from '../../test/raw-socket.ts';
import { openWsEngine } from './ws/engine.ts';

const DEVICE = '198.51.100.7';

for (const [name, open] of ENGINES) {
  test(`[RLY-01] ${name}: a peer behind a balancer has the last address of X-Forwarded-For that is not a balancer's`, async (t) => {
    const { dial, arrivals, requests } = await engineWorld(
      t,
      open,
      localBalancers('forwarded-for'),
    );
    const spoofed = `203.0.113.1, ${DEVICE}, 127.0.0.9`;
    await once(dial('/v1/device', { 'x-forwarded-for': spoofed }), 'open');
    assert.deepEqual([arrivals[0]?.names, requests[0]?.address], [[DEVICE], DEVICE]);
    await once(dial(), 'open');
    assert.deepEqual([arrivals[1]?.names, requests[1]?.address], [[], '127.0.0.1']);
    await closeOf(dial('/v1/device', { 'x-forwarded-for': 'unknown' }));
    assert.deepEqual([arrivals[2]?.names, requests.length], [[undefined], 2]);
    await eventually(() => arrivals[2]?.timesGone);
  });

  test(`[RLY-01] ${name}: reads all lines of X-Forwarded-For`, async (t) => {
    const { dial, requests } = await engineWorld(t, open, localBalancers('forwarded-for'));
    // haproxy adds a line and leaves the one that came from outside.
    const headers: Record<string, string[]> = { 'x-forwarded-for': ['203.0.113.1', DEVICE] };
    await once(dial('/v1/device', headers), 'open');
    assert.equal(requests[0]?.address, DEVICE);
  });

  test(`[RLY-01] ${name}: ignores X-Forwarded-For where no balancer is configured`, async (t) => {
    const { dial, arrivals, requests } = await engineWorld(t, open);
    await once(dial('/v1/device', { 'x-forwarded-for': DEVICE }), 'open');
    assert.deepEqual([arrivals[0]?.names, requests[0]?.address], [[], '127.0.0.1']);
  });
}

async function proxiedWorld(t: Parameters<typeof engineWorld>[0]) {
  const world = await engineWorld(t, openWsEngine, localBalancers('v2'));
  const target = { port: world.engine.port, ca: world.authority.ca };
  const connect = (header: Buffer) => {
    const socket = openProxied(target, header);
    t.after(() => socket.destroy());
    return socket;
  };
  return { ...world, target, connect };
}

test('[RLY-01] ws: a PROXY header names the peer, and the WebSocket begins behind it', async (t) => {
  const { target, connect, arrivals, requests, recorders } = await proxiedWorld(t);
  const client = dialOver(connect(proxyHeader(DEVICE)), target);
  t.after(() => client.terminate());
  await once(client, 'open');
  assert.deepEqual([arrivals[0]?.names, requests[0]?.address], [[DEVICE], DEVICE]);
  client.send(Buffer.alloc(50_000, 7));
  await eventually(() => recorders[0]?.messages.length === 1);
});

test('[RLY-01] ws: a PROXY header may arrive in parts, and together with what follows', async (t) => {
  const { target, connect, arrivals, requests } = await proxiedWorld(t);
  const header = proxyHeader(DEVICE, { extensions: Buffer.alloc(100) });
  const slow = connect(Buffer.alloc(0));
  await once(slow, 'connect');
  for (const byte of header) {
    slow.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  const first = dialOver(slow, target);
  const corked = connect(Buffer.alloc(0));
  corked.cork();
  corked.write(header);
  const second = dialOver(corked, target);
  // TLS writes its hello on the next tick.
  setImmediate(() => setImmediate(() => corked.uncork()));
  t.after(() => {
    first.terminate();
    second.terminate();
  });
  await Promise.all([once(first, 'open'), once(second, 'open')]);
  assert.deepEqual(
    arrivals.map(({ names }) => names),
    [[DEVICE], [DEVICE]],
  );
  assert.equal(requests.length, 2);
});

test('[RLY-01] ws: a health check of a balancer gets its TLS, and names nobody', async (t) => {
  const { target, connect, arrivals } = await proxiedWorld(t);
  const local = proxyHeader(DEVICE, { command: 0x20, family: 0, addresses: Buffer.alloc(0) });
  const client = dialOver(connect(local), target);
  t.after(() => client.terminate());
  await once(client, 'open');
  assert.deepEqual(arrivals[0]?.names, []);
});

test('[RLY-01] ws: closes a connection that does not begin with a whole PROXY header', async (t) => {
  const { target, connect, arrivals, requests } = await proxiedWorld(t);
  const garbage = [
    Buffer.alloc(2000, 0x41),
    Buffer.from('PROXY TCP4 198.51.100.7 192.0.2.1 12345 8443\r\n'),
    proxyHeader(DEVICE, { extensions: Buffer.alloc(600) }),
    proxyHeader(DEVICE, { family: 0x12 }),
  ];
  for (const bytes of garbage) await closeOf(connect(bytes).resume());
  await closeOf(dialOver(connect(Buffer.alloc(0)), target));
  assert.deepEqual(
    arrivals.map(({ names }) => names),
    [...garbage, 'no header'].map(() => [undefined]),
  );
  for (const half of [10, 20]) {
    const socket = connect(proxyHeader(DEVICE).subarray(0, half));
    const arrival = await eventually(() => arrivals.find(({ timesGone }) => timesGone === 0));
    socket.end();
    await eventually(() => arrival.timesGone === 1);
  }
  assert.equal(requests.length, 0);
});

test('[RLY-01] ws: a connection that never completes its PROXY header can be cut', async (t) => {
  const { connect, arrivals } = await proxiedWorld(t);
  for (const half of [0, 10, 20]) {
    const socket = connect(proxyHeader(DEVICE).subarray(0, half)).resume();
    const arrival = await eventually(() => arrivals.find(({ timesGone }) => timesGone === 0));
    const closed = closeOf(socket);
    arrival.cut();
    await closed;
    await eventually(() => arrival.timesGone === 1);
  }
});
