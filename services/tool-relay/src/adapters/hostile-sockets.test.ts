import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import {
  ENGINES,
  engineWorld,
  MAX_CONNECTIONS,
  MAX_MESSAGE_BYTES,
} from '../../test/engine-world.ts';
import {
  BINARY,
  CONTINUATION,
  closeOf,
  flood,
  frameHeader,
  openTcp,
  openTls,
  openUnproved,
  PING,
  PONG,
  UPGRADE,
} from '../../test/raw-socket.ts';

for (const [name, open] of ENGINES) {
  const hostile = async (t: Parameters<typeof engineWorld>[0]) => {
    const world = await engineWorld(t, open);
    const target = { port: world.engine.port, ca: world.authority.ca };
    const socket = await openUnproved(target);
    t.after(() => socket.destroy());
    const recorder = await eventually(() => world.recorders.find(({ socket: open }) => open));
    return { ...world, target, socket, recorder };
  };

  test(`[RLY-01] ${name}: hands up every ping and pong, asked for or not`, async (t) => {
    const { socket, recorder } = await hostile(t);
    for (const kind of [PONG, PING]) {
      socket.write(Buffer.concat(Array.from({ length: 50 }, () => frameHeader(kind))));
    }
    await eventually(() => recorder.controls.length === 100);
    assert.equal(recorder.controls.filter((kind) => kind === 'ping').length, 50);
  });

  test(`[RLY-01] ${name}: a flood ends with the socket, also when the peer ignores the close frame`, async (t) => {
    const { socket, recorder } = await hostile(t);
    recorder.onControlDo = (ours) => {
      if (recorder.controls.length === 20) ours.close(4429, 'limit.exceeded');
    };
    const closed = closeOf(socket);
    flood(socket, frameHeader(PONG));
    await closed;
    assert.equal(recorder.controls.length, 20);
    assert.deepEqual(recorder.ends, []);
  });

  test(`[RLY-01] ${name}: reports the bytes that it reads`, async (t) => {
    const { connect } = await engineWorld(t, open);
    const { client, recorder } = await connect();
    recorder.onMessageDo = (bytes) => assert.ok(recorder.readBytes >= bytes.length);
    client.send(Buffer.alloc(MAX_MESSAGE_BYTES));
    await eventually(() => recorder.messages.length === 1);
    recorder.onReadDo = (ours) => ours.terminate();
    client.send(Buffer.alloc(100));
    await closeOf(client);
    assert.equal(recorder.messages.length, 1);
  });

  test(`[RLY-01] ${name}: an upgrade without an arrival is refused`, async (t) => {
    const { dial, settings, arrivals, requests } = await engineWorld(t, open);
    settings.refusesArrivals = true;
    await closeOf(dial());
    assert.deepEqual([arrivals.length, requests.length], [1, 0]);
  });

  test(`[RLY-01] ${name}: an arrival is gone with its connection`, async (t) => {
    const { connect, arrivals, requests } = await engineWorld(t, open);
    const { client } = await connect();
    const [arrival] = arrivals;
    assert.equal(requests[0]?.arrival, arrival);
    assert.deepEqual([arrival?.address, arrival?.timesGone], ['127.0.0.1', 0]);
    client.terminate();
    await eventually(() => arrival?.timesGone === 1);
  });

  // What uWebSockets.js does not withstand: ADR 4.
  if (name === 'uws') continue;

  test(`[RLY-01] ${name}: reports the bytes of a message before it is complete`, async (t) => {
    const { socket, recorder } = await hostile(t);
    socket.write(frameHeader(BINARY, { bytes: MAX_MESSAGE_BYTES }));
    socket.write(Buffer.alloc(1000));
    await eventually(() => recorder.readBytes >= 1000);
    assert.deepEqual(recorder.messages, []);
    recorder.onReadDo = (ours) => ours.terminate();
    socket.write(Buffer.alloc(1000));
    await closeOf(socket);
  });

  test(`[RLY-01] ${name}: empty fragments end the socket`, async (t) => {
    const { socket, recorder } = await hostile(t);
    socket.write(frameHeader(BINARY, { fin: false }));
    flood(socket, frameHeader(CONTINUATION, { fin: false }));
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.messages, []);
  });

  test(`[RLY-01] ${name}: an unmasked frame ends the socket`, async (t) => {
    const { socket, recorder } = await hostile(t);
    socket.write(
      Buffer.concat([frameHeader(BINARY, { bytes: 5, masked: false }), Buffer.from('hello')]),
    );
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.messages, []);
  });

  test(`[RLY-01] ${name}: a connection has an arrival before TLS, and can be cut at every step`, async (t) => {
    const { engine, authority, arrivals, recorders } = await engineWorld(t, open);
    const target = { port: engine.port, ca: authority.ca };
    const silent = openTcp(target);
    await eventually(() => arrivals.length === 1);
    const idle = await openTls(target);
    const slow = await openTls(target);
    slow.write(UPGRADE.slice(0, 20));
    const upgraded = await openUnproved(target);
    await eventually(() => arrivals.length === 4);
    const peers = [silent, idle, slow, upgraded];
    const closed = Promise.all(peers.map((peer) => closeOf(peer)));
    for (const arrival of arrivals) arrival.cut();
    await closed;
    await eventually(() => arrivals.every(({ timesGone }) => timesGone === 1));
    assert.deepEqual(recorders[0]?.ends, ['closed']);
  });

  test(`[RLY-01] ${name}: stops accepting at its number of connections, and begins again`, async (t) => {
    const { engine, authority, accepting, connect } = await engineWorld(t, open);
    const target = { port: engine.port, ca: authority.ca };
    const peers = [];
    for (let i = 0; i < MAX_CONNECTIONS; i++) peers.push(openTcp(target));
    await eventually(() => accepting.length === 1);
    const [refused] = await once(openTcp(target), 'error');
    assert.equal(refused.code, 'ECONNREFUSED');
    for (const peer of peers.slice(0, MAX_CONNECTIONS / 2)) peer.destroy();
    await eventually(() => accepting.length === 2);
    assert.deepEqual(accepting, [false, true]);
    await connect();
    for (const peer of peers) peer.destroy();
  });
}
