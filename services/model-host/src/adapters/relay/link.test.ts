import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { trace } from '@opentelemetry/api';
import type { ZlError } from '@zerolatency/errors';
import { callIdFromKey, FrameKind, NO_PAYLOAD } from '@zerolatency/frame';
import { createTracing } from '@zerolatency/service/telemetry';
import { eventually, frameBytes } from '@zerolatency/testing';
import { EchoDevice } from '../../../test/relay/echo-device.ts';
import { NO_RELAY_METRICS, relayWorld } from '../../../test/relay/relay-world.ts';

const never = AbortSignal.any([]);

test('closes the link of a relay that stops reading, within its memory bound', async (t) => {
  const { devices, relays, enrol } = await relayWorld(t, { limits: { maxQueueBytes: 256 * 1024 } });
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const route = devices.route('north', 'laptop');
  const { device, epoch } = await route.ready(never);
  let isLost = false;
  const callId = randomBytes(16).toString('hex');
  route.attach(callId, {
    onFrame() {},
    onRouteUp() {},
    onRouteLost: () => {
      isLost = true;
    },
  });
  relay!.freeze();
  const payload = new Uint8Array(64 * 1024);
  const head = { kind: FrameKind.CALL, flags: 0, device, epoch, offset: 0 };
  await eventually(() => {
    route.send({ ...head, callId: callIdFromKey(callId), payload });
    return isLost;
  });
});

test('does not ping a busy link', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const { devices, relays, enrol } = await relayWorld(t);
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const route = devices.route('north', 'laptop');
  const { device, epoch } = await route.ready(never);
  const callId = randomBytes(16).toString('hex');
  let echoes = 0;
  route.attach(callId, {
    onFrame: () => {
      echoes += 1;
    },
    onRouteUp() {},
    onRouteLost() {},
  });
  const sendAndHear = async (count: number, bytes: number) => {
    const wanted = echoes + count;
    const head = { kind: FrameKind.CREDIT, flags: 0, device, epoch, offset: 0 };
    for (let sent = 0; sent < count; sent++) {
      route.send({ ...head, callId: callIdFromKey(callId), payload: new Uint8Array(bytes) });
    }
    await eventually(() => echoes === wanted);
  };
  await sendAndHear(10, 64 * 1024);
  t.mock.timers.tick(5000);
  await sendAndHear(1, 1);
  assert.equal(relay!.pings, 0);
  // Quiet intervals are asked about, and an unanswered one was not asked about.
  for (let pings = 1; pings <= 3; pings++) {
    t.mock.timers.tick(5000);
    await eventually(() => relay!.pings === pings);
    await sendAndHear(1, 1);
  }
  assert.equal(relay!.accepted, 1);
});

test('a malformed frame closes the link, and the next link works', async (t) => {
  const { devices, relays, enrol } = await relayWorld(t);
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  for (const rubbish of [Buffer.from('rubbish'), 'text', Buffer.alloc(2 ** 20 + 1)]) {
    const links = relay!.accepted;
    relay!.broadcast(rubbish);
    await eventually(() => route.connection === undefined || relay!.accepted > links);
    await route.ready(never);
  }
});

test('[OPS-05] a host that cannot prove its certificate gets no link', async (t) => {
  const { host, relays, enrol } = await relayWorld(t);
  const stranger = await relayWorld(t);
  relays[0]!.connect(new EchoDevice(await enrol('laptop')));
  const devices = host({
    tls: { current: () => ({ ...stranger.client, ca: relays[0]!.ca }) },
    limits: { connectWaitMs: 1000 },
  });
  await assert.rejects(devices.route('north', 'laptop').ready(never), (error: ZlError) => {
    assert.equal(error.id, 'relay.unreachable');
    return true;
  });
  assert.equal(relays[0]!.links, 0);
});

test('[OPS-05] a host reports why a relay refused it', async (t) => {
  const { host, relays, enrol } = await relayWorld(t);
  relays[0]!.connect(new EchoDevice(await enrol('laptop')));
  // The token is for the relay that the directory names.
  relays[0]!.advertisedUrl = relays[1]!.url;
  const devices = host({ limits: { connectWaitMs: 1000 } });
  await assert.rejects(devices.route('north', 'laptop').ready(never), (error: ZlError) => {
    assert.equal(error.id, 'relay.unreachable');
    assert.match(String(error.cause), /refused with 401: peer token refused: its aud is not ours/);
    return true;
  });
});

test('[OPS-05] refuses a relay with a certificate of another authority', async (t) => {
  const { host, relays, enrol, client } = await relayWorld(t);
  const stranger = await relayWorld(t);
  relays[0]!.connect(new EchoDevice(await enrol('laptop')));
  const devices = host({
    tls: { current: () => ({ ...client, ca: stranger.client.ca }) },
    limits: { connectWaitMs: 1000 },
  });
  await assert.rejects(devices.route('north', 'laptop').ready(never), { id: 'relay.unreachable' });
});

test('[RLY-04] links again to a relay that returns at its address under another id', async (t) => {
  const { devices, relays, enrol } = await relayWorld(t);
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  relay!.relayId = 'relay-a-again';
  relay!.cut();
  await eventually(() => route.connection === undefined);
  await route.ready(never);
});

for (const url of ['wss://not an address', 'wss://127.0.0.1:1#part', 'ws://127.0.0.1:1']) {
  test(`a relay that names ${url} as its address is unreachable, and the host goes on`, async (t) => {
    const { devices, relays, enrol } = await relayWorld(t, { limits: { connectWaitMs: 1000 } });
    const [relay, other] = relays;
    relay!.advertisedUrl = url;
    relay!.connect(new EchoDevice(await enrol('laptop')));
    other!.connect(new EchoDevice(await enrol('desktop')));
    await assert.rejects(devices.route('north', 'laptop').ready(never), (error: ZlError) => {
      assert.equal(error.id, 'relay.unreachable');
      assert.match(String(error.cause), /address/);
      return true;
    });
    await devices.route('north', 'desktop').ready(never);
  });
}

test('a link ignores and counts frame kinds it does not know', async (t) => {
  let ignored = 0;
  const { devices, relays, enrol } = await relayWorld(t, {
    metrics: {
      ...NO_RELAY_METRICS,
      frameIgnored: () => {
        ignored += 1;
      },
    },
  });
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const route = devices.route('north', 'laptop');
  const { device, epoch } = await route.ready(never);
  const heard: number[] = [];
  const callId = randomBytes(16).toString('hex');
  route.attach(callId, {
    onFrame: ({ kind }) => heard.push(kind),
    onRouteUp() {},
    onRouteLost: () => heard.push(-1),
  });
  for (const kind of [30, 31, 63, 64, 2 ** 31]) {
    relay!.broadcast(frameBytes({ kind, device }));
  }
  const head = { kind: FrameKind.CREDIT, flags: 0, device, epoch, offset: 0 };
  route.send({ ...head, callId: callIdFromKey(callId), payload: NO_PAYLOAD });
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, [FrameKind.CREDIT]);
  assert.equal(ignored, 5);
});

test('a link belongs to no trace, whichever turn dialled it first', async (t) => {
  const traceIds: (string | undefined)[] = [];
  const noteTrace = () => traceIds.push(trace.getActiveSpan()?.spanContext().traceId);
  const { devices, relays, enrol } = await relayWorld(t, {
    log: { info() {}, warn: noteTrace },
  });
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const { tracer } = createTracing({ service: 'test', version: '0' });
  const heard: (string | undefined)[] = [];
  await tracer.startActiveSpan('first turn', async () => {
    const route = devices.route('north', 'laptop');
    const { device, epoch } = await route.ready(never);
    const callId = randomBytes(16).toString('hex');
    route.attach(callId, {
      onFrame: () => heard.push(trace.getActiveSpan()?.spanContext().traceId),
      onRouteUp() {},
      onRouteLost() {},
    });
    const head = { kind: FrameKind.CREDIT, flags: 0, device, epoch, offset: 0 };
    route.send({ ...head, callId: callIdFromKey(callId), payload: NO_PAYLOAD });
    await eventually(() => heard.length > 0);
    relay!.cut();
    await eventually(() => traceIds.length > 0);
  });
  assert.deepEqual([heard[0], traceIds[0]], [undefined, undefined]);
});

test('a clock that is set back does not keep a lost link from being dialled', async (t) => {
  let nowMs = Date.now();
  const { devices, relays, enrol } = await relayWorld(t, { nowMs: () => nowMs });
  const [relay] = relays;
  relay!.connect(new EchoDevice(await enrol('laptop')));
  const route = devices.route('north', 'laptop');
  await route.ready(never);
  relay!.cut();
  await eventually(() => route.connection === undefined);
  // Less than the tolerance of peer tokens and credentials.
  nowMs -= 30_000;
  await route.ready(never);
});
