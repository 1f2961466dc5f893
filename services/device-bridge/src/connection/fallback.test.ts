import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameKind } from '@zerolatency/frame';
import { type ConnectionRig, connectionRig } from '../../test/connection-rig.ts';

const RETRY_MS = 60_000;

/** What was dialled, in order. */
const dialled = ({ sockets }: ConnectionRig) => sockets.map(({ transport }) => transport);

/** Reaches the relay's address, and hears nothing from it. */
function block({ relay, clock }: ConnectionRig): void {
  relay.socket.isReached = true;
  relay.closes(1006, 'HTTP 403');
  clock.advance(5_000);
}

async function welcome({ relay }: ConnectionRig): Promise<void> {
  relay.socket.isReached = true;
  relay.open();
  await relay.challenges();
  // Nobody pings in these tests.
  relay.welcomes({ epoch: 3n, heartbeatMs: 24 * 60 * 60 * 1000 });
}

async function fallBack(rig: ConnectionRig): Promise<void> {
  rig.connection.start();
  block(rig);
  block(rig);
  await welcome(rig);
  assert.equal(rig.relay.socket.transport, 'http_stream');
}

test('[BRG-08] falls back to an HTTP stream after two blocked attempts, and not after one', () => {
  const rig = connectionRig();
  rig.connection.start();
  block(rig);
  assert.deepEqual(dialled(rig), ['websocket', 'websocket']);
  block(rig);
  assert.deepEqual(dialled(rig), ['websocket', 'websocket', 'http_stream']);
});

for (const [what, act] of Object.entries({
  'an upgrade that is not answered': ({ relay, clock }: ConnectionRig) => {
    relay.socket.isReached = true;
    clock.advance(10_000);
  },
  'a socket that opens and stays silent': ({ relay, clock }: ConnectionRig) => {
    relay.socket.isReached = true;
    relay.open();
    clock.advance(10_000);
  },
  'a socket that is cut after its challenge': async ({ relay }: ConnectionRig) => {
    relay.socket.isReached = true;
    relay.open();
    await relay.challenges();
    relay.closes(1006);
  },
})) {
  test(`[BRG-08] ${what} counts as blocked`, async () => {
    const rig = connectionRig();
    rig.connection.start();
    for (let n = 0; n < 2; n++) {
      await act(rig);
      rig.clock.advance(5_000);
    }
    assert.equal(rig.relay.socket.transport, 'http_stream');
  });
}

for (const [what, act] of Object.entries({
  'does not answer at all': ({ relay }: ConnectionRig) => relay.closes(1006, 'ECONNREFUSED'),
  'refuses the socket itself': ({ relay }: ConnectionRig) => {
    relay.socket.isReached = true;
    relay.closes(1013, 'limit.exceeded (HTTP 503)');
  },
  'ends a socket with a code': ({ relay }: ConnectionRig) => {
    relay.socket.isReached = true;
    relay.open();
    relay.closes(1012, 'server.draining');
  },
})) {
  test(`[BRG-08] a relay that ${what} does not make the device fall back`, () => {
    const rig = connectionRig();
    rig.connection.start();
    for (let n = 0; n < 5; n++) {
      act(rig);
      rig.clock.advance(5_000);
    }
    assert.deepEqual(dialled(rig), Array(6).fill('websocket'));
  });
}

test('[BRG-08] a refused credential is not taken for a blocked WebSocket', async () => {
  const rig = connectionRig();
  rig.connection.start();
  for (let n = 0; n < 3; n++) {
    rig.relay.socket.isReached = true;
    rig.relay.open();
    await rig.relay.challenges();
    rig.relay.closes(4401, 'device.credential_invalid');
    rig.connection.changed();
  }
  assert.deepEqual(dialled(rig), Array(4).fill('websocket'));
});

test('[BRG-08] a stream that fails too is followed by WebSockets', () => {
  const rig = connectionRig();
  rig.connection.start();
  for (let n = 0; n < 5; n++) block(rig);
  const once = ['websocket', 'websocket', 'http_stream'];
  assert.deepEqual(dialled(rig), [...once, ...once]);
});

test('[BRG-08] a device that lived on a stream dials a stream again', async () => {
  const rig = connectionRig();
  await fallBack(rig);
  rig.relay.closes(1006);
  rig.clock.advance(5_000);
  assert.equal(rig.relay.socket.transport, 'http_stream');
});

test('[BRG-08] moves back to a WebSocket once one is welcomed, and never without a connection', async () => {
  const rig = connectionRig();
  const { connection, clock, relays, frames, log } = rig;
  await fallBack(rig);
  const stream = relays(2);
  clock.advance(RETRY_MS);
  assert.deepEqual(dialled(rig).slice(2), ['http_stream', 'websocket']);
  const { url } = rig.relay.socket;
  assert.equal(url, stream.socket.url);
  stream.says(FrameKind.CALL);
  assert.equal(frames.length, 1);
  await welcome(rig);
  assert.ok(connection.state.name === 'live');
  assert.equal(connection.state.wire.transport, 'websocket');
  assert.equal(stream.socket.closed, 'close 1000');
  assert.ok(!log.includes('lost'));
  clock.advance(10 * RETRY_MS);
  assert.equal(dialled(rig).filter((transport) => transport === 'http_stream').length, 1);
});

test('[BRG-08] a WebSocket that is still blocked is tried again later, beside the stream', async () => {
  const rig = connectionRig();
  const { connection, clock, relays, relay } = rig;
  await fallBack(rig);
  for (let n = 1; n <= 3; n++) {
    clock.advance(RETRY_MS);
    assert.equal(dialled(rig).length, 3 + n);
    relay.socket.isReached = true;
    relay.closes(1006, 'HTTP 403');
    assert.ok(connection.state.name === 'live' && connection.state.successor === undefined);
  }
  assert.equal(relays(2).socket.closed, '');
});

test('[BRG-08] says that a proxy may hold back what a stream should bring', async () => {
  const rig = connectionRig();
  rig.connection.start();
  block(rig);
  block(rig);
  rig.relay.socket.isReached = true;
  rig.relay.open();
  rig.clock.advance(10_000);
  assert.ok(rig.connection.state.name === 'lost');
  assert.match(rig.connection.state.why, /proxy on the way holds it back/);
});
