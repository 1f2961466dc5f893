import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { fromBinary } from '@bufbuild/protobuf';
import { FrameKind } from '@zerolatency/frame';
import { DrainSchema } from '@zerolatency/proto/bridge';
import { eventually, makeEnrolment } from '@zerolatency/testing';
import { relayWorld } from './relay-world.ts';

for (const engine of ['uws', 'ws']) {
  const settings = { 'sockets.engine': engine };

  test(`[RLY-06] a draining relay lets calls end, notifies both sides, and exits when its devices have left (${engine})`, async (t) => {
    const { clients, lifecycle, relay } = await relayWorld(t, { settings });
    const { client: device, identity } = await clients.device('laptop');
    const host = await clients.host();
    const { handle, epoch } = await host.open('north', 'laptop');
    const callId = randomBytes(16);
    host.send({ kind: FrameKind.CALL, device: handle, epoch, callId });
    await device.take(FrameKind.CALL);
    const stopped = lifecycle.shutdown({ reason: 'test', deadlineMs: 10_000 });

    const { payload } = await device.take(FrameKind.DRAIN);
    assert.equal(fromBinary(DrainSchema, payload).closeAfterMs, 5000);
    await host.take(FrameKind.DRAIN);
    assert.equal((await fetch(`${relay.adminUrl}/readyz`)).status, 503);
    const late = clients.dialDevice();
    const [, response] = await once(late.native, 'unexpected-response');
    assert.equal(response.statusCode, 503);
    assert.equal(await host.lost(host.sendOpen('north', 'elsewhere')), 'DRAINING');
    // Until the device has moved, also a host that comes only now can call it here.
    const other = await clients.host();
    for (const link of [host, other]) {
      const late = await link.open('north', 'laptop');
      const lateCall = randomBytes(16);
      link.send({ kind: FrameKind.CALL, device: late.handle, epoch, callId: lateCall });
      device.send({ kind: FrameKind.OUTCOME, callId: (await device.take(FrameKind.CALL)).callId });
      assert.deepEqual(Buffer.from((await link.take(FrameKind.OUTCOME)).callId), lateCall);
    }

    device.send({ kind: FrameKind.OUTCOME, callId });
    await host.take(FrameKind.OUTCOME);
    assert.equal(identity.deviceId, 'laptop');
    device.native.close(1000);
    assert.equal(await host.lost(handle), 'DRAINING');
    assert.deepEqual(await host.end(), { code: 1012, reason: 'server.draining' });
    await stopped;
    assert.equal(lifecycle.state, 'stopped');
    assert.deepEqual(lifecycle.failures, []);
  });

  test(`[RLY-06] a draining relay tells its devices one after another, and those without a call first (${engine})`, async (t) => {
    const { clients, lifecycle } = await relayWorld(t, {
      settings: { ...settings, 'drain.devicesPerSecond': 1, 'drain.deadline': '1h' },
    });
    const [busy, idle] = [await clients.device('busy'), await clients.device('idle')];
    const host = await clients.host();
    const { handle, epoch } = await host.open('north', 'busy');
    host.send({ kind: FrameKind.CALL, device: handle, epoch, callId: randomBytes(16) });
    await busy.client.take(FrameKind.CALL);
    void lifecycle.shutdown({ reason: 'test', deadlineMs: 10_000 });
    const { payload } = await idle.client.take(FrameKind.DRAIN);
    assert.equal(fromBinary(DrainSchema, payload).closeAfterMs, 6000);
    const late = fromBinary(DrainSchema, (await busy.client.take(FrameKind.DRAIN)).payload);
    assert.ok(late.closeAfterMs > 0 && late.closeAfterMs <= 5000, `${late.closeAfterMs}`);
  });

  test(`[RLY-06] at the end of the drain the remaining devices are closed and their hosts are notified (${engine})`, async (t) => {
    const { clients, lifecycle } = await relayWorld(t, {
      settings: { ...settings, 'drain.closeAfter': '50ms' },
    });
    const { client: device } = await clients.device('laptop');
    const unproved = clients.dialDevice();
    await unproved.challenge();
    const host = await clients.host();
    const { handle } = await host.open('north', 'laptop');
    const stopped = lifecycle.shutdown({ reason: 'test', deadlineMs: 10_000 });
    const draining = { code: 1012, reason: 'server.draining' };
    assert.deepEqual(await unproved.end(), draining);
    assert.deepEqual(await device.end(), draining);
    assert.equal(await host.lost(handle), 'DRAINING');
    assert.deepEqual(await host.end(), draining);
    await stopped;
    assert.deepEqual(lifecycle.failures, []);
  });

  test(`[OPS-05] both ports serve a new certificate without a restart or a lost socket (${engine})`, async (t) => {
    const { clients, authority, relay, tls, logLines } = await relayWorld(t, { settings });
    const { client: device } = await clients.device('laptop');
    const host = await clients.host();
    const held = await host.open('north', 'laptop');
    const client = await authority.client('model-host');
    const shown = async (url: string) => {
      const { port } = new URL(url);
      const { ca, cert, key } = client;
      const socket = connectTls({ port: Number(port), host: 'localhost', ca, cert, key });
      await once(socket, 'secureConnect');
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const urls = [relay.socketUrl, relay.rpcUrl];
    const before = await Promise.all(urls.map(shown));
    const next = await authority.server('relay');
    copyFileSync(next.certFile, tls.certFile);
    copyFileSync(next.keyFile, tls.keyFile);
    await eventually(async () => {
      const now = await Promise.all(urls.map(shown));
      return now.every((fingerprint, index) => fingerprint !== before[index]);
    });
    const callId = randomBytes(16);
    host.send({ kind: FrameKind.CALL, device: held.handle, epoch: held.epoch, callId });
    await device.take(FrameKind.CALL);
    await clients.device('desktop');
    assert.ok(logLines.some((line) => line.includes('certificate reloaded')));
  });
}

test('reloads enrolment keys when their file changes', async (t) => {
  const { clients, enrolment, dir } = await relayWorld(t);
  const next = await makeEnrolment(dir, { issuer: enrolment.issuer });
  const device = await next.device({ deviceId: 'laptop' });
  const refused = clients.dialDevice();
  await refused.prove(device);
  assert.equal((await refused.end()).code, 4401);
  copyFileSync(next.jwksFile, enrolment.jwksFile);
  await eventually(async () => {
    const client = clients.dialDevice();
    await client.prove(device);
    await eventually(() => client.closed !== undefined || client.frames.length > 0);
    return client.closed === undefined;
  });
});
