import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { CatalogSchema } from '@zerolatency/proto/bridge';
import { eventually } from '@zerolatency/testing';
import { hostAndDevice, relayWorld, sendCall } from './relay-world.ts';

const UNLIMITED = {
  'devices.bytesPerSecond': '64GiB',
  'devices.framesPerSecond': 10_000_000,
  'tenants.bytesPerSecond': '64GiB',
  'tenants.framesPerSecond': 10_000_000,
  'links.bytesPerSecond': '64GiB',
  'links.framesPerSecond': 10_000_000,
};

const ofCall = (callId: Uint8Array) => (frame: Frame) => Buffer.compare(frame.callId, callId) === 0;

for (const engine of ['uws', 'ws']) {
  const settings = { 'sockets.engine': engine };

  test(`[RLY-04] a call reaches the device under handle 0, and its answer the host under the host's handle (${engine})`, async (t) => {
    const { device, host, held } = await hostAndDevice(t, { settings });
    const { callId, payload } = sendCall(host, held);
    const received = await device.take(FrameKind.CALL);
    assert.equal(received.device, 0);
    assert.equal(received.epoch, device.epoch);
    assert.deepEqual([...received.callId], [...callId]);
    assert.deepEqual([...received.payload], [...payload]);
    const answer = randomBytes(300);
    device.send({ kind: FrameKind.DATA, callId, offset: 7, payload: answer });
    const data = await host.take(FrameKind.DATA);
    assert.deepEqual([data.device, data.offset], [held.handle, 7]);
    assert.deepEqual([...data.payload], [...answer]);
  });

  test(`[RLY-01] cuts a device that reads too slowly and notifies its hosts (${engine})`, async (t) => {
    const { clients, host, held, device, metrics } = await hostAndDevice(t, {
      settings: { ...settings, ...UNLIMITED, 'devices.maxQueue': '256KiB' },
    });
    const other = await clients.device('other');
    device.native.pause();
    const payload = Buffer.alloc(64 * 1024);
    const { callId } = sendCall(host, held);
    const { handle, epoch } = held;
    const flood = setInterval(() => {
      for (let i = 0; i < 20; i++) {
        host.send({ kind: FrameKind.CREDIT, device: handle, epoch, callId, payload });
      }
    }, 5);
    t.after(() => clearInterval(flood));
    assert.equal(await host.lost(handle), 'SLOW');
    clearInterval(flood);
    assert.match(await metrics(), /sessions_total\{.*reason="slow".*\} 1/);
    assert.equal(host.closed, undefined);
    assert.equal(other.client.closed, undefined);
  });

  test(`[RLY-01] cuts a device that sends more than its host reads, and keeps the link (${engine})`, async (t) => {
    const { clients, host, held, device, metrics } = await hostAndDevice(t, {
      settings: { ...settings, ...UNLIMITED, 'links.maxQueue': '256KiB' },
    });
    await clients.device('quiet');
    const quiet = await host.open('north', 'quiet');
    const { callId } = sendCall(host, held);
    await device.take(FrameKind.CALL);
    host.native.pause();
    const payload = Buffer.alloc(64 * 1024);
    const flood = setInterval(() => {
      for (let i = 0; i < 20; i++) device.send({ kind: FrameKind.DATA, callId, payload });
    }, 5);
    t.after(() => clearInterval(flood));
    const { code } = await device.end();
    // A peer that is still writing when it is cut may lose the close frame to the reset.
    assert.ok(code === 4429 || code === 1006, `${code}`);
    assert.match(await metrics(), /zl_relay_sessions_total\{.*reason="limit".*\} 1/);
    clearInterval(flood);
    host.native.resume();
    assert.equal(await host.lost(held.handle), 'DISCONNECTED');
    assert.equal((await host.open('north', 'quiet')).epoch, quiet.epoch);
  });

  test(`[RLY-01] a host that reads too slowly loses its link, and only that host (${engine})`, async (t) => {
    const { clients, enrolment, metrics } = await relayWorld(t, {
      settings: { ...settings, ...UNLIMITED, 'links.maxQueue': '256KiB' },
    });
    const tools = [{ name: 'read', description: 'x'.repeat(200 * 1024) }];
    const identity = await enrolment.device({ deviceId: 'laptop' });
    await clients.live(identity, { catalog: { servers: [{ name: 'fs', tools }] } });
    const host = await clients.host();
    const other = await clients.host();
    host.native.pause();
    const flood = setInterval(() => {
      for (let i = 0; i < 20; i++) host.sendOpen('north', 'laptop');
    }, 5);
    t.after(() => clearInterval(flood));
    await eventually(async () => /zl_relay_links_open\{.*\} 1/.test(await metrics()));
    clearInterval(flood);
    host.native.resume();
    assert.equal((await host.end()).code, 1006);
    await other.open('north', 'laptop');
  });
}

test('[RLY-04] a host gets the journal, catalog and credential of a device, and its catalog changes', async (t) => {
  const { clients, enrolment } = await relayWorld(t);
  const identity = await enrolment.device({ deviceId: 'laptop' });
  const tool = { name: 'read', description: 'reads', digest: randomBytes(32) };
  const device = await clients.live(identity, {
    catalog: { servers: [{ name: 'fs', tools: [tool] }] },
  });
  const host = await clients.host();
  const { handle, opened } = await host.open('north', 'laptop');
  assert.deepEqual([...opened.journalId], [...device.journalId]);
  assert.equal(opened.credential, identity.credential);
  assert.equal(opened.catalog?.servers[0]?.tools[0]?.name, 'read');
  const changed = create(CatalogSchema, { servers: [{ name: 'fs' }, { name: 'git' }] });
  device.send({ kind: FrameKind.CATALOG, payload: toBinary(CatalogSchema, changed) });
  const again = await host.opening(handle);
  assert.deepEqual(
    again.catalog?.servers.map(({ name }) => name),
    ['fs', 'git'],
  );
  assert.equal(again.epoch, opened.epoch);
  const late = await (await clients.host()).open('north', 'laptop');
  assert.equal(late.opened.catalog?.servers.length, 2);
});

test('[RLY-01] hosts get only the newest catalog of a flood', async (t) => {
  const { device, host, held } = await hostAndDevice(t);
  const count = 200;
  for (let sent = 1; sent <= count; sent++) {
    const catalog = create(CatalogSchema, { servers: [{ name: 'fs', version: `${sent}` }] });
    device.send({ kind: FrameKind.CATALOG, payload: toBinary(CatalogSchema, catalog) });
  }
  let told = 0;
  let version: string | undefined;
  while (version !== `${count}`) {
    version = (await host.opening(held.handle)).catalog?.servers[0]?.version;
    told += 1;
  }
  assert.ok(told < count / 2, `told ${told} times`);
});

test('[RLY-01] an unreadable catalog ends the session even after a delay', async (t) => {
  const { device } = await hostAndDevice(t);
  for (let sent = 0; sent < 30; sent++) device.send({ kind: FrameKind.CATALOG });
  device.send({ kind: FrameKind.CATALOG, payload: Uint8Array.of(0xff) });
  assert.deepEqual(await device.end(), { code: 4400, reason: 'frame.malformed' });
});

test('[RLY-01] a device that is unknown, offline or of another tenant is not here', async (t) => {
  const { clients } = await relayWorld(t);
  const { client } = await clients.device('laptop');
  const host = await clients.host();
  assert.equal(await host.lost(host.sendOpen('north', 'ghost')), 'NOT_HERE');
  assert.equal(await host.lost(host.sendOpen('south', 'laptop')), 'NOT_HERE');
  const { handle } = await host.open('north', 'laptop');
  client.native.terminate();
  assert.equal(await host.lost(handle), 'DISCONNECTED');
  assert.equal(await host.lost(host.sendOpen('north', 'laptop')), 'NOT_HERE');
});

test('[RLY-02] a second connection of a device takes over, with a larger epoch', async (t) => {
  const { clients, device, identity, host, held } = await hostAndDevice(t);
  const { callId } = sendCall(host, held);
  await device.take(FrameKind.CALL);
  const second = await clients.live(identity);
  assert.ok(second.epoch > device.epoch);
  assert.deepEqual(await device.end(), { code: 4409, reason: 'device.superseded' });
  assert.equal(await host.lost(held.handle), 'SUPERSEDED');
  const again = await host.open('north', 'laptop');
  assert.equal(again.epoch, second.epoch);
  const { handle, epoch } = again;
  host.send({ kind: FrameKind.RESUME, device: handle, epoch, callId });
  await second.take(FrameKind.RESUME);
  second.send({ kind: FrameKind.OUTCOME, callId });
  assert.equal((await host.take(FrameKind.OUTCOME)).device, handle);
});

test('[RLY-02] a frame of an old epoch loses its handle and never reaches the device', async (t) => {
  const { device, host, held } = await hostAndDevice(t);
  sendCall(host, { ...held, epoch: held.epoch - 1 });
  assert.equal(await host.lost(held.handle), 'OLD_EPOCH');
  const again = await host.open('north', 'laptop');
  const { callId } = sendCall(host, again);
  await device.take(ofCall(callId));
  assert.deepEqual(device.frames, []);
});

test('[RLY-04] two hosts share a device, and each gets the answers to its own calls', async (t) => {
  const { clients, device, host, held } = await hostAndDevice(t);
  device.echo();
  const other = await clients.host();
  const first = await other.open('north', 'laptop');
  const hosts = [
    { host, held },
    { host: other, held: first },
  ];
  const sent = Array.from({ length: 40 }, (_, index) => {
    const { host: from, held: over } = hosts[index % 2]!;
    return { from, over, ...sendCall(from, over) };
  });
  for (const { from, over, callId, payload } of sent) {
    const answer = await from.take(ofCall(callId));
    assert.equal(answer.device, over.handle);
    assert.deepEqual([...answer.payload], [...payload]);
  }
  assert.deepEqual([host.frames, other.frames], [[], []]);
});

test('[RLY-04] a call that another host resumes is answered to that host', async (t) => {
  const { clients, device, host, held } = await hostAndDevice(t);
  const { callId } = sendCall(host, held);
  await device.take(FrameKind.CALL);
  host.native.terminate();
  const other = await clients.host();
  const { handle, epoch } = await other.open('north', 'laptop');
  other.send({ kind: FrameKind.RESUME, device: handle, epoch, callId, offset: 5 });
  assert.equal((await device.take(FrameKind.RESUME)).offset, 5);
  device.send({ kind: FrameKind.OUTCOME, callId });
  assert.equal((await other.take(FrameKind.OUTCOME)).device, handle);
});

test("[RLY-04] a host cannot cancel or acknowledge another host's call", async (t) => {
  const { clients, device, host, held, metrics } = await hostAndDevice(t);
  const { callId } = sendCall(host, held);
  await device.take(FrameKind.CALL);
  const other = await clients.host();
  const { handle, epoch } = await other.open('north', 'laptop');
  for (const kind of [FrameKind.CANCEL, FrameKind.ACK, FrameKind.CREDIT]) {
    other.send({ kind, device: handle, epoch, callId });
  }
  const { callId: own } = sendCall(other, { handle, epoch, opened: held.opened });
  await device.take(ofCall(own));
  assert.deepEqual(device.frames, []);
  assert.match(await metrics(), /frames_refused_total\{.*identity.forbidden.*\} 3/);
});

test('[RLY-05] the route of a call ends with its acknowledgement', async (t) => {
  const { device, host, held, metrics } = await hostAndDevice(t);
  const { callId } = sendCall(host, held);
  await device.take(FrameKind.CALL);
  device.send({ kind: FrameKind.OUTCOME, callId });
  await host.take(FrameKind.OUTCOME);
  const { handle, epoch } = held;
  host.send({ kind: FrameKind.ACK, device: handle, epoch, callId });
  await device.take(FrameKind.ACK);
  device.send({ kind: FrameKind.OUTCOME, callId });
  await eventually(async () =>
    /frames_refused_total\{from="device",error_id="request.invalid".*\} 1/.test(await metrics()),
  );
  assert.deepEqual(host.frames, []);
  assert.equal(device.closed, undefined);
});

test('[RLY-04] a call that the device has not seen or has refused can be sent again', async (t) => {
  const { device, host, held } = await hostAndDevice(t, { settings: { 'devices.maxCalls': 1 } });
  for (const kind of [FrameKind.NOT_SEEN, FrameKind.REFUSED, FrameKind.NOT_SEEN]) {
    const { callId } = sendCall(host, held);
    await device.take(FrameKind.CALL);
    device.send({ kind, callId });
    await host.take(kind);
  }
  sendCall(host, held);
  await device.take(FrameKind.CALL);
});

test('[RLY-04] every host with a handle is notified when a device leaves during a call', async (t) => {
  const { clients, device, host, held } = await hostAndDevice(t);
  const other = await clients.host();
  const second = await other.open('north', 'laptop');
  sendCall(host, held);
  await device.take(FrameKind.CALL);
  device.native.terminate();
  assert.equal(await host.lost(held.handle), 'DISCONNECTED');
  assert.equal(await other.lost(second.handle), 'DISCONNECTED');
});

test('a closed handle receives nothing further and can be reused', async (t) => {
  const { clients, device, host, held } = await hostAndDevice(t);
  const { callId } = sendCall(host, held);
  await device.take(FrameKind.CALL);
  host.send({ kind: FrameKind.CLOSE, device: held.handle });
  sendCall(host, held);
  const other = await clients.host();
  const { callId: own } = sendCall(other, await other.open('north', 'laptop'));
  await device.take(ofCall(own));
  device.send({ kind: FrameKind.OUTCOME, callId });
  device.send({ kind: FrameKind.OUTCOME, callId: own });
  await other.take(FrameKind.OUTCOME);
  assert.deepEqual([host.frames, device.frames], [[], []]);
  await host.open('north', 'laptop');
});

test('[RLY-01] handles and calls are limited, and a host over a limit is notified', async (t) => {
  const settings = { 'links.maxHandles': 2, 'devices.maxCalls': 3 };
  const { clients, device, host, held } = await hostAndDevice(t, { settings });
  const second = await host.open('north', 'laptop');
  assert.equal(await host.lost(host.sendOpen('north', 'laptop')), 'LIMIT');
  for (let i = 0; i < 3; i++) {
    sendCall(host, held);
    await device.take(FrameKind.CALL);
  }
  const { callId } = sendCall(host, second);
  const refused = await host.take(ofCall(callId));
  assert.deepEqual([refused.kind, refused.device], [FrameKind.REFUSED, second.handle]);
  host.send({ kind: FrameKind.CLOSE, device: held.handle });
  const again = await host.open('north', 'laptop');
  sendCall(host, again);
  await device.take(FrameKind.CALL);
  assert.equal((await clients.host()).closed, undefined);
});
