import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { HelloSchema } from '@zerolatency/proto/bridge';
import fc from 'fast-check';
import { type ConnectionRig, connectionRig } from '../../test/connection-rig.ts';

const POD = 'wss://relay-7.example:8444/v1/device';

function lastHello({ sockets }: ConnectionRig) {
  const hello = sockets.at(-1)!.sent.findLast(({ kind }) => kind === FrameKind.HELLO)!;
  return fromBinary(HelloSchema, hello.payload);
}

async function challenged(rig: ConnectionRig): Promise<void> {
  rig.relay.open();
  await rig.relay.challenges();
}

test('[RLY-03] a bridge goes where a relay redirects its hello, and asks to be served there', async () => {
  const rig = connectionRig();
  const { connection, relay, sockets, log } = rig;
  connection.start();
  await challenged(rig);
  assert.deepEqual(
    [lastHello(rig).noRedirect, lastHello(rig).features.includes('redirect')],
    [false, true],
  );
  relay.redirects(POD);
  assert.deepEqual([sockets[0]!.closed, relay.socket.url], ['terminate', POD]);
  await challenged(rig);
  assert.equal(lastHello(rig).noRedirect, true);
  relay.welcomes({ epoch: 4n });
  assert.deepEqual(log, [`redirect wss://one ${POD}`, 'attempt live', 'live 4']);
  relay.closes(1006);
  rig.clock.advance(5_000);
  await challenged(rig);
  assert.equal(lastHello(rig).noRedirect, false);
});

test('[RLY-08] a hello states the largest epoch under which the device was live', async () => {
  const rig = connectionRig({ lastEpoch: 3 });
  const { connection, relay, clock } = rig;
  connection.start();
  for (const [stated, epoch] of [
    [3n, 5n],
    [5n, 4n],
    [5n, 9n],
    [9n, 10n],
  ] as const) {
    await challenged(rig);
    assert.equal(lastHello(rig).lastEpoch, stated);
    relay.welcomes({ epoch });
    relay.closes(1006);
    clock.advance(5_000);
  }
});

test('[RLY-03] a redirect to a pod that is gone sends the bridge back to its relays, which serve it', async () => {
  const rig = connectionRig();
  const { connection, relay, clock, log } = rig;
  connection.start();
  await challenged(rig);
  relay.redirects(POD);
  relay.closes(1006);
  clock.advance(5_000);
  assert.equal(relay.socket.url, 'wss://two');
  await challenged(rig);
  assert.equal(lastHello(rig).noRedirect, true);
  relay.welcomes();
  assert.equal(log.at(-1), 'live 3');
});

test('[RLY-03] relays that redirect a bridge in a circle are left with backoff', async () => {
  const rig = connectionRig();
  const { connection, relay, clock, sockets, log } = rig;
  connection.start();
  for (let n = 0; n < 20; n++) {
    await challenged(rig);
    relay.redirects(POD);
    if (connection.state.name === 'dialling') continue;
    assert.equal(connection.state.name, 'lost');
    clock.advance(5_000);
  }
  assert.equal(log.filter((line) => line === `redirect wss://one ${POD}`).length, 1);
  assert.equal(log.filter((line) => line.endsWith(POD)).length, 1);
  assert.equal(sockets.filter(({ url }) => url === POD).length, 1);
});

for (const url of [
  '',
  'ws://relay-7/v1/device',
  'https://relay-7/v1/device',
  'wss://user:password@relay-7/v1/device',
  'wss://relay-7/v1/device?to=elsewhere',
  'wss://relay-7/v1/device#here',
  'wss://relay-7:99999999/v1/device',
  `wss://${'r'.repeat(300)}/v1/device`,
  `wss://relay-7/${'d'.repeat(100_000)}`,
]) {
  test(`[RLY-03] a redirect to ${JSON.stringify(url.slice(0, 40))} is not followed`, async () => {
    const rig = connectionRig();
    const { connection, relay, log, sockets, clock, goLive } = rig;
    await goLive();
    relay.redirects(url);
    assert.ok(connection.state.name === 'live' && connection.state.successor === undefined);
    relay.closes(1006);
    clock.advance(5_000);
    await challenged(rig);
    relay.redirects(url);
    assert.equal(connection.state.name, 'lost');
    assert.equal(log.filter((line) => line.endsWith('undefined')).length, 2);
    assert.deepEqual([...new Set(sockets.map((socket) => socket.url))], ['wss://one', 'wss://two']);
    clock.advance(5_000);
    await challenged(rig);
    assert.equal(lastHello(rig).noRedirect, true);
  });
}

/** Live and told to go elsewhere, with the jitter over. */
async function moving(): Promise<ConnectionRig> {
  const rig = connectionRig();
  await rig.goLive();
  rig.relay.says(FrameKind.CALL);
  rig.relay.redirects(POD, 1000);
  rig.clock.advance(500);
  assert.equal(rig.relay.socket.url, POD);
  return rig;
}

test('[RLY-03] a live device is served by its relay until the one it belongs to has welcomed it', async () => {
  const rig = await moving();
  const { connection, relay, relays, sockets, frames, log } = rig;
  await challenged(rig);
  assert.equal(lastHello(rig).noRedirect, true);
  relays(0).says(FrameKind.RESUME);
  assert.deepEqual([frames.length, sockets[0]!.closed], [2, '']);
  relay.welcomes({ epoch: 4n });
  assert.equal(sockets[0]!.closed, 'close 1000');
  assert.ok(connection.state.name === 'live' && connection.state.epoch === 4);
  assert.equal(log.includes('lost'), false);
});

for (const [what, code, reason] of [
  ['cannot be reached', 1006, ''],
  ['refuses the device', 4401, 'device.credential_invalid'],
] as const) {
  test(`[RLY-03] a live device stays with its relay when the other one ${what}`, async () => {
    const rig = await moving();
    const { connection, relay, relays, sockets, clock } = rig;
    if (code === 4401) await challenged(rig);
    relay.closes(code, reason);
    assert.ok(connection.state.name === 'live' && connection.state.successor === undefined);
    for (let n = 0; n < 10; n++) {
      clock.advance(1_000);
      relays(0).says(FrameKind.CALL);
    }
    assert.deepEqual([sockets.length, sockets[0]!.closed], [2, '']);
    relays(0).drains(1000);
    clock.advance(500);
    assert.equal(relay.socket.url, 'wss://two');
    await challenged(rig);
    assert.equal(lastHello(rig).noRedirect, true);
  });
}

test('[RLY-03] a device whose relay drains asks to be served where it goes', async () => {
  const rig = connectionRig();
  const { relay, relays, clock, sockets, goLive } = rig;
  await goLive();
  relay.drains(1000);
  clock.advance(500);
  await challenged(rig);
  assert.equal(lastHello(rig).noRedirect, true);
  relay.redirects(POD);
  assert.deepEqual([sockets.some(({ url }) => url === POD), sockets[0]!.closed], [false, '']);
  relays(0).closes(1012);
  clock.advance(5_000);
  await challenged(rig);
  assert.equal(lastHello(rig).noRedirect, true);
});

test('[RLY-03] a relay that drains during a move has its device go to another one where the move fails', async () => {
  const rig = await moving();
  const { connection, relay, relays, clock } = rig;
  relays(0).drains(1000);
  relay.closes(1006);
  clock.advance(1_000);
  relays(0).socket.events.onSign();
  assert.ok(connection.state.name === 'live' && connection.state.successor?.name === 'dialling');
  assert.equal(relay.socket.url, 'wss://two');
});

test('[RLY-03] a relay that redirects after each welcome is not obeyed ever faster', async () => {
  const rig = connectionRig();
  const { connection, relay, relays, clock, sockets, goLive } = rig;
  await goLive();
  let waitedMs = 0;
  for (let n = 0; n < 20; n++) {
    relays(sockets.length - 1).redirects(POD);
    assert.ok(connection.state.name === 'live' && connection.state.successor?.name === 'lost');
    const { retryInMs } = connection.state.successor;
    waitedMs += retryInMs;
    // A relay that has kept the device for so long is no longer taken for one in a loop.
    if (retryInMs >= 2_000) break;
    clock.advance(retryInMs);
    await challenged(rig);
    relay.welcomes();
  }
  assert.ok(waitedMs > 2_000, `${waitedMs} ms`);
});

test('[RLY-03] whatever relays redirect, one redirect is followed between two lives, and the bridge dials on', async () => {
  const act = fc.constantFrom('redirects', 'garbage', 'closes', 'welcomes', 'drains', 'waits');
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 30 }), async (acts) => {
      const rig = connectionRig();
      const { connection, relay, clock, log, sockets } = rig;
      connection.start();
      for (const each of acts) {
        const { state } = connection;
        const attempt = state.name === 'live' ? state.successor : state;
        if (attempt?.name === 'dialling') await challenged(rig);
        if (each === 'waits' || sockets.at(-1)!.closed !== '') clock.advance(900);
        else if (each === 'redirects') relay.redirects(POD);
        else if (each === 'garbage') relay.redirects('http://elsewhere');
        else if (each === 'closes') relay.closes(1006);
        else if (each === 'drains' && connection.state.name === 'live') relay.drains();
        else if (each === 'welcomes' && attempt !== undefined) relay.welcomes();
      }
      let followed = 0;
      for (const line of log) {
        if (line.startsWith('live') || line === 'attempt failed') followed = 0;
        if (line.endsWith(POD)) followed += 1;
        assert.ok(followed <= 1, log.join(', '));
      }
      const { state } = connection;
      const isWaiting =
        state.name === 'lost' || (state.name === 'live' && state.successor?.name === 'lost');
      if (isWaiting) assert.ok(clock.pendingTimers > 0, 'nobody dials again');
      void connection.close();
      clock.advance(1_000);
      assert.equal(clock.pendingTimers, 0);
    }),
    { numRuns: 200 },
  );
});
