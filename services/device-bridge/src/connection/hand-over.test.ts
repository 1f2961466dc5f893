import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import fc from 'fast-check';
import { type ConnectionRig, connectionRig } from '../../test/connection-rig.ts';

/** Live at a relay that drains, with the jitter over. */
async function handingOver(): Promise<ConnectionRig> {
  const rig = connectionRig();
  await rig.goLive();
  rig.relay.says(FrameKind.CALL);
  rig.relay.drains(1000);
  rig.clock.advance(250);
  return rig;
}

function successorOf({ connection }: ConnectionRig): string | undefined {
  return connection.state.name === 'live' ? connection.state.successor?.name : 'not live';
}

test('[RLY-06] a draining relay is served until the next one has welcomed the device', async () => {
  const rig = await handingOver();
  const { connection, relay, relays, sockets, frames, log } = rig;
  assert.equal(relay.socket.url, 'wss://two');
  relay.open();
  await relay.challenges();
  assert.deepEqual([successorOf(rig), sockets[0]!.closed], ['proving', '']);
  relays(0).says(FrameKind.RESUME);
  connection.send({ ...frames[0]!.frame, kind: FrameKind.OUTCOME });
  assert.equal(sockets[0]!.sent.at(-1)?.kind, FrameKind.OUTCOME);
  relay.welcomes({ epoch: 4n });
  assert.equal(sockets[0]!.closed, 'close 1000');
  assert.ok(connection.state.name === 'live' && connection.state.epoch === 4);
  assert.deepEqual(log, ['attempt live', 'live 3', 'attempt live', 'live 4']);
  connection.send({ ...frames[0]!.frame, kind: FrameKind.OUTCOME });
  assert.deepEqual(
    sockets.map(({ sent }) => sent.filter(({ kind }) => kind === FrameKind.OUTCOME).length),
    [1, 1],
  );
});

test('[RLY-06] what arrives on the old socket after the hand-over is dropped', async () => {
  const { connection, relay, relays, frames, ignored, sockets } = await handingOver();
  relay.open();
  await relay.challenges();
  relay.welcomes({ epoch: 4n });
  const before = frames.length;
  relays(0).says(FrameKind.CALL);
  relays(0).says(FrameKind.DRAIN);
  relays(0).says(15 as FrameKind);
  assert.deepEqual([frames.length, ignored], [before, []]);
  relays(0).closes(1000);
  assert.ok(connection.state.name === 'live' && connection.state.successor === undefined);
  assert.equal(sockets[1]!.closed, '');
});

test('[RLY-06] a next relay that fails is tried again with backoff while the old one is served', async () => {
  const rig = await handingOver();
  const { relay, relays, clock, sockets, frames, log } = rig;
  for (let n = 2; n < 6; n += 1) {
    relay.closes(1006);
    assert.equal(successorOf(rig), 'lost');
    clock.advance(900);
    relays(0).socket.events.onSign();
    assert.equal(sockets.length, n + 1);
  }
  relays(0).says(FrameKind.CALL);
  assert.equal(frames.length, 2);
  assert.deepEqual(log.slice(0, 3), ['attempt live', 'live 3', 'attempt failed']);
});

for (const [step, act] of Object.entries({
  dialling: async () => {},
  proving: async ({ relay }: ConnectionRig) => {
    relay.open();
    await relay.challenges();
  },
  lost: async ({ relay }: ConnectionRig) => relay.closes(1006),
})) {
  test(`[RLY-06] an old socket that ends while its successor is ${step} leaves that attempt`, async () => {
    const rig = await handingOver();
    const { connection, relay, relays, sockets, log, clock } = rig;
    await act(rig);
    relays(0).closes(1012, 'server.draining');
    assert.equal(connection.state.name, step);
    assert.equal(log.at(-1), 'lost');
    assert.equal(sockets.length, 2);
    if (step === 'lost') clock.advance(5_000);
    if (step !== 'proving') relay.open();
    if (step !== 'proving') await relay.challenges();
    relay.welcomes({ epoch: 4n });
    assert.equal(log.at(-1), 'live 4');
  });
}

test('a next relay that refuses the device is not asked again, and the old one is served', async () => {
  const rig = await handingOver();
  const { connection, relay, relays, clock, sockets } = rig;
  relay.open();
  await relay.challenges();
  relay.closes(4401, 'device.credential_invalid');
  for (let n = 0; n < 10; n += 1) {
    clock.advance(1_000);
    relays(0).socket.events.onSign();
  }
  assert.deepEqual([successorOf(rig), sockets.length], ['refused', 2]);
  connection.changed();
  assert.deepEqual([successorOf(rig), sockets.length], ['dialling', 3]);
  relay.closes(1006);
  relays(0).closes(1012);
  assert.equal(connection.state.name, 'lost');
});

test('[TOOL-03] a catalog that changes during a hand-over reaches both relays', async () => {
  const { connection, relay, sockets } = await handingOver();
  relay.open();
  await relay.challenges();
  connection.announce(create(CatalogSchema, { servers: [{ name: 'newer' }] }));
  relay.welcomes({ epoch: 4n });
  for (const { sent } of sockets) {
    const catalog = sent.filter(({ kind }) => kind === FrameKind.CATALOG);
    assert.deepEqual(
      catalog.map(({ payload }) => fromBinary(CatalogSchema, payload).servers[0]?.name),
      ['newer'],
    );
  }
});

test('a relay that drains after each welcome is not redialled ever faster', async () => {
  const { connection, relay, clock, goLive } = connectionRig();
  await goLive();
  let waitedMs = 0;
  for (let n = 0; n < 20; n++) {
    relay.drains(0);
    assert.ok(connection.state.name === 'live' && connection.state.successor?.name === 'lost');
    const { retryInMs } = connection.state.successor;
    waitedMs += retryInMs;
    // As long as no relay is silent for too long, and no life is long enough to be proven.
    relay.closes(1012);
    clock.advance(retryInMs);
    relay.open();
    await relay.challenges();
    relay.welcomes();
  }
  assert.ok(waitedMs > 5_000, `${waitedMs} ms`);
});

test('the bridge closes both sockets when it stops during a hand-over', async () => {
  const { connection, relays, sockets, clock, log } = await handingOver();
  const closed = connection.close();
  assert.deepEqual(
    sockets.map((socket) => socket.closed),
    ['close 1000', 'terminate'],
  );
  relays(0).closes(1000);
  await closed;
  assert.deepEqual([log.at(-2), log.at(-1), clock.pendingTimers], ['lost', 'attempt failed', 0]);
});

const ALLOWED: Record<string, readonly string[]> = {
  idle: ['idle', 'dialling'],
  dialling: ['dialling', 'proving', 'lost'],
  // A refusal is passed through when something has changed meanwhile.
  proving: ['proving', 'live', 'lost', 'refused', 'dialling'],
  // A successor takes the place of a socket that ends, as it is.
  live: ['live', 'lost', 'refused', 'dialling', 'proving'],
  lost: ['lost', 'dialling'],
  refused: ['refused', 'dialling'],
};

type SocketAct = 'open' | 'challenges' | 'welcomes' | 'drains' | 'rubbish' | 'sign' | 'call';

type Happening =
  | 'start'
  | 'changed'
  | { readonly ms: number }
  /** Counted from the socket that was dialled last. */
  | { readonly back: number; readonly act: SocketAct | number };

const act = fc.oneof(
  fc.constantFrom<SocketAct>('open', 'challenges', 'welcomes', 'rubbish', 'sign', 'call'),
  fc.constantFrom<SocketAct>('drains', 'call'),
  fc.constantFrom(1006, 1000, 4401, 4403, 4400),
);
const happening = fc.oneof(
  { arbitrary: fc.record({ back: fc.constantFrom(0, 0, 0, 1), act }), weight: 6 },
  { arbitrary: fc.constantFrom('start' as const, 'changed' as const), weight: 1 },
  { arbitrary: fc.integer({ min: 1, max: 900 }).map((ms) => ({ ms })), weight: 2 },
);
/** What goes well, so that many runs get as far as a hand-over. */
const admission: Happening[] = [
  { back: 0, act: 'open' },
  { back: 0, act: 'challenges' },
  { back: 0, act: 'welcomes' },
];
const draining: Happening[] = [{ back: 0, act: 'drains' }, { ms: 600 }];
const history = fc
  .array(
    fc.oneof(
      { arbitrary: happening.map((each): Happening[] => [each]), weight: 4 },
      { arbitrary: fc.constantFrom(admission, draining), weight: 3 },
    ),
    { maxLength: 40 },
  )
  .map((parts): Happening[] => ['start', ...parts.flat()]);

async function happen({ connection, clock, sockets, relays }: ConnectionRig, each: Happening) {
  if (each === 'start') connection.start();
  else if (each === 'changed') connection.changed();
  else if ('ms' in each) clock.advance(each.ms);
  else if (sockets.length > each.back) {
    const relay = relays(sockets.length - 1 - each.back);
    if (typeof each.act === 'number') relay.closes(each.act);
    else if (each.act === 'rubbish') relay.socket.events.onMessage(Buffer.from('rubbish'));
    else if (each.act === 'sign') relay.socket.events.onSign();
    else if (each.act === 'call') relay.says(FrameKind.CALL);
    else await relay[each.act]();
  }
}

test('[RLY-06] in any order of events calls go over one socket, there are at most two, and the bridge dials again', async () => {
  let handOvers = 0;
  await fc.assert(
    fc.asyncProperty(history, async (events) => {
      const rig = connectionRig();
      const { connection, clock, sockets, log, frames } = rig;
      let liveSocket = -1;
      for (const each of events) {
        const before = connection.state.name;
        const heard = frames.length;
        const lives = log.filter((line) => line.startsWith('live')).length;
        await happen(rig, each);
        const { state } = connection;
        const isTime = typeof each === 'object' && 'ms' in each;
        assert.ok(ALLOWED[before]!.includes(state.name) || isTime, `${before} ${state.name}`);
        const open = sockets.filter(({ closed }) => closed === '');
        assert.ok(open.length <= 2, `${open.length} sockets`);
        // Beyond the live one only an attempt may hold a socket.
        assert.ok(open.length <= (state.name === 'live' ? 2 : 1), `${open.length} ${state.name}`);
        if (log.filter((line) => line.startsWith('live')).length > lives) {
          if (before === 'live') handOvers += 1;
          liveSocket = sockets.length - 1;
        }
        if (frames.length > heard) {
          assert.ok(typeof each === 'object' && 'back' in each);
          assert.equal(sockets.length - 1 - each.back, liveSocket, 'a call on another socket');
        }
        if (state.name === 'lost' || (state.name === 'live' && state.successor?.name === 'lost')) {
          assert.ok(clock.pendingTimers > 0, 'nobody dials again');
        }
      }
      const changes = log.filter((line) => !line.startsWith('attempt'));
      for (const [n, line] of changes.entries()) {
        if (line === 'lost') assert.notEqual(changes[n - 1] ?? 'lost', 'lost');
      }
      const closed = connection.close();
      clock.advance(1000);
      await closed;
      assert.equal(connection.state.name, 'closed');
      assert.equal(clock.pendingTimers, 0);
      assert.ok(sockets.every((socket) => socket.closed !== ''));
    }),
    { numRuns: 300 },
  );
  assert.ok(handOvers > 0);
});
