import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@zerolatency/testing';
import type { FrameSocket } from '../../services/tool-relay/test/frame-socket.ts';
import * as raw from '../../services/tool-relay/test/raw-socket.ts';
import { figure, size } from './attack.ts';
import { type AttackedRelay, ENGINES, type Engine, relayProgram } from './relay-program.ts';

const FLOOD_MS = size({ short: 300, long: 5_000 });
const HALF_MESSAGES = size({ short: 200, long: 500 });
const STRANGERS = size({ short: 150, long: 3_000 });
const MAX_UNPROVED = size({ short: 50, long: 1_000 });

/** As if the attacker dialled from many addresses. */
const MANY_ADDRESSES = { connectsPerAddress: 100_000 };

const FLOODS: Readonly<Record<string, (socket: Socket) => void>> = {
  pongs: (socket) => raw.flood(socket, raw.frameHeader(raw.PONG)),
  pings: (socket) => raw.flood(socket, raw.frameHeader(raw.PING)),
  'empty fragments': (socket) => {
    socket.write(raw.frameHeader(raw.BINARY, { fin: false }));
    raw.flood(socket, raw.frameHeader(raw.CONTINUATION, { fin: false }));
  },
};

/** ADR 4: it joins fragments by itself, and buffers what it has not handed up. */
const NOT_PROMISED: Readonly<Record<Engine, readonly string[]>> = {
  ws: [],
  uws: ['empty fragments', 'half messages'],
};

type Attacker = (relay: AttackedRelay, name: string) => Promise<Socket>;

const ATTACKERS: Readonly<Record<string, Attacker>> = {
  stranger: (relay) => raw.openUnproved(relay.target),
  device: async (relay, name) => rawSocketOf(await relay.device(name)),
  host: async (relay) => rawSocketOf(await relay.host()),
};

function rawSocketOf({ native }: FrameSocket): Socket {
  const socket: unknown = Reflect.get(native, '_socket');
  assert.ok(socket instanceof Socket);
  return socket;
}

async function honestPair(relay: AttackedRelay) {
  return relay.calls(await relay.device('honest'), 'honest');
}

/** Opens sockets until `count` of them stood or fell, some at a time. */
async function many(t: TestContext, count: number, open: () => Socket | Promise<Socket>) {
  const opened: Socket[] = [];
  t.after(() => {
    for (const socket of opened) socket.destroy();
  });
  while (opened.length < count) {
    opened.push(...(await Promise.all(Array.from({ length: 20 }, open))));
  }
  return opened;
}

for (const engine of ENGINES) {
  const devices = { ...MANY_ADDRESSES, maxUnproved: MAX_UNPROVED };
  const isPromised = (attack: string) => !NOT_PROMISED[engine].includes(attack);

  test(`[RLY-01] calls succeed while sockets are flooded with frames (${engine})`, async (t) => {
    const relay = await relayProgram(t, { engine });
    const calls = await honestPair(relay);
    const { answered: undisturbed } = await calls(FLOOD_MS);
    for (const [attack, flood] of Object.entries(FLOODS)) {
      for (const [who, open] of Object.entries(ATTACKERS)) {
        const socket = await open(relay, attack.replace(' ', '-'));
        const closed = raw.closeOf(socket);
        flood(socket);
        const { answered, unanswered } = isPromised(attack)
          ? await calls(FLOOD_MS)
          : await calls(FLOOD_MS, FLOOD_MS);
        figure(t, {
          attack: `${attack} from a ${who}`,
          engine,
          name: 'calls meanwhile, of those without an attack',
          value: (100 * answered) / undisturbed,
          unit: '%',
        });
        if (isPromised(attack)) {
          assert.equal(unanswered, 0, `${attack} from a ${who}`);
          await closed;
        }
        socket.destroy();
      }
    }
  });

  test(`[RLY-01] strangers' halves of large messages take no memory (${engine})`, async (t) => {
    const relay = await relayProgram(t, { engine, settings: { devices: MANY_ADDRESSES } });
    const calls = await honestPair(relay);
    const beforeMib = relay.rssMib();
    const mostRssMib = relay.mostRssMib();
    const bytes = 1_900_000;
    await many(t, HALF_MESSAGES, async () => {
      const socket = await raw.openUnproved(relay.target);
      socket.write(raw.frameHeader(raw.BINARY, { bytes }));
      socket.write(Buffer.alloc(bytes / 2));
      return socket;
    });
    const { unanswered } = await calls(FLOOD_MS);
    const grownMib = mostRssMib() - beforeMib;
    const sentMib = (HALF_MESSAGES * bytes) / 2 / 1024 / 1024;
    const name = `memory for ${Math.round(sentMib)} MiB`;
    figure(t, { attack: 'half messages', engine, name, value: grownMib, unit: 'MiB' });
    if (!isPromised('half messages')) return;
    assert.equal(unanswered, 0);
    assert.ok(grownMib < sentMib / 2, `${grownMib} MiB`);
  });

  test(`[RLY-01] a device connects while strangers hold more sockets than may be unproved (${engine})`, async (t) => {
    const relay = await relayProgram(t, { engine, settings: { devices } });
    const calls = await honestPair(relay);
    const openers = { 'idle sockets': () => raw.openUnproved(relay.target) };
    if (engine === 'ws') Object.assign(openers, { 'no TLS': () => raw.openTcp(relay.target) });
    for (const [attack, open] of Object.entries(openers)) {
      await many(t, STRANGERS, open);
      await relay.device(`newcomer-${attack.replace(' ', '-')}`);
      assert.ok((await relay.metric('zl_relay_unproved_open')) <= MAX_UNPROVED);
      const evicted = await relay.metric('zl_relay_unadmitted_total');
      figure(t, { attack, engine, name: 'strangers evicted', value: evicted, unit: 'sockets' });
      assert.equal((await calls(FLOOD_MS)).unanswered, 0);
    }
  });
}

test('[RLY-01] slow handshakes end, wherever they stop', async (t) => {
  const devices = { ...MANY_ADDRESSES, handshake: '1s' };
  const relay = await relayProgram(t, { engine: 'ws', settings: { devices } });
  const calls = await honestPair(relay);
  const drip = async () => {
    const socket = await raw.openTls(relay.target);
    let sent = 0;
    const timer = setInterval(() => socket.write(raw.UPGRADE[sent++] ?? ''), 100);
    socket.once('close', () => clearInterval(timer));
    return socket;
  };
  const sockets = [
    ...(await many(t, 40, () => raw.openTcp(relay.target))),
    ...(await many(t, 40, () => raw.openTls(relay.target))),
    ...(await many(t, 40, drip)),
    ...(await many(t, 40, () => raw.openUnproved(relay.target))),
  ];
  const closed = Promise.all(sockets.filter((each) => !each.closed).map(raw.closeOf));
  let isOver = false;
  closed.then(() => {
    isOver = true;
  });
  let answered = 0;
  while (!isOver) {
    const some = await calls(50);
    assert.equal(some.unanswered, 0);
    answered += some.answered;
  }
  assert.equal(await relay.metric('zl_relay_unproved_open'), 0);
  const attack = { attack: 'slow handshakes', engine: 'ws' } as const;
  figure(t, { ...attack, name: 'calls meanwhile, all answered', value: answered, unit: 'calls' });
});

test('[RLY-01] at the descriptor limit the relay pauses, idles, and recovers', async (t) => {
  const relay = await relayProgram(t, {
    engine: 'ws',
    maxDescriptors: 128,
    settings: { devices: MANY_ADDRESSES },
  });
  const calls = await honestPair(relay);
  await many(t, STRANGERS, () => raw.openTcp(relay.target));
  // Strangers whom the relay accepts after it may take its place, so it dials again as a bridge does.
  await eventually(() => relay.device('newcomer').catch(() => undefined), { timeoutMs: 60_000 });
  assert.equal(await relay.metric('zl_relay_accepting'), 1);
  const proved: FrameSocket[] = [];
  while ((await relay.metric('zl_relay_accepting')) === 1) {
    // The last one may dial into the pause, and then waits for a place.
    const device = await relay.device(`device-${proved.length}`).catch(() => undefined);
    if (device !== undefined) proved.push(device);
  }
  const health = await (await fetch(`${relay.adminUrl}/health`)).text();
  assert.match(health, /"name":"sockets","status":"degraded","detail":"[^"]*file descriptors/);
  assert.equal((await calls(FLOOD_MS)).unanswered, 0);
  const usedMs = relay.cpuMs();
  const idleMs = size({ short: 1_000, long: 5_000 });
  await many(t, 40, () => raw.openTcp(relay.target));
  await sleep(idleMs);
  const busy = (100 * (relay.cpuMs() - usedMs)) / idleMs;
  assert.ok(busy < 50, `${busy}% of a core`);
  for (const { native } of proved.slice(0, 30)) native.terminate();
  await eventually(async () => (await relay.metric('zl_relay_accepting')) === 1);
  await relay.device('after');
  const attack = { attack: 'descriptor limit', engine: 'ws' } as const;
  figure(t, { ...attack, name: 'CPU while not accepting', value: busy, unit: '%' });
  figure(t, { ...attack, name: 'devices at the limit', value: proved.length, unit: 'devices' });
});
