import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { encodeRecord, FrameKind } from '@zerolatency/frame';
import { RelayService, Transport } from '@zerolatency/proto/relay';
import { eventually, frameBytes } from '@zerolatency/testing';
import type { HostClient, OpenDevice } from './host-client.ts';
import { relayWorld } from './relay-world.ts';

const CALLS_PER_ROUND = 50;

test('[BRG-08] a device on an HTTP stream proves itself, serves calls, and is listed with its transport', async (t) => {
  const { clients, enrolment, metrics, logLines } = await relayWorld(t);
  const device = clients.dialStream();
  device.echo();
  await device.prove(await enrolment.device({ deviceId: 'behind' }));
  await device.welcome();
  await clients.device('direct');
  const host = await clients.host();
  const { handle, epoch } = await host.open('north', 'behind');
  const calls = Array.from({ length: 50 }, () => randomBytes(16));
  for (const callId of calls) {
    host.send({ kind: FrameKind.CALL, device: handle, epoch, callId, payload: callId });
  }
  for (const callId of calls) {
    const outcome = await host.take(FrameKind.OUTCOME);
    assert.deepEqual(Buffer.from(outcome.payload), callId);
  }
  const { devices } = await (await clients.rpc(RelayService)).listDevices({ tenant: 'north' });
  assert.deepEqual(
    devices.map(({ deviceId, transport }) => [deviceId, Transport[transport]]),
    [
      ['behind', 'HTTP_STREAM'],
      ['direct', 'WEBSOCKET'],
    ],
  );
  const text = await metrics();
  for (const transport of ['http_stream', 'websocket']) {
    assert.match(text, new RegExp(`devices_live_by_transport\\{.*"${transport}".*\\} 1\n`));
  }
  assert.match(text, /stream_requests_total\{.*error_id="none".*\} [2-9]/);
  assert.ok(logLines.some((line) => /device live/.test(line) && /"http_stream"/.test(line)));
});

test('[BRG-08] a stream without a proof ends in time, with its POSTs, and says why', async (t) => {
  const settings = { 'devices.handshake': '300ms' };
  const { clients, metrics } = await relayWorld(t, { settings });
  const silent = clients.dialStream();
  assert.deepEqual(await silent.end(), { code: 4408, reason: 'identity.missing' });
  const rude = clients.dialStream();
  await rude.challenge();
  rude.send({ kind: FrameKind.OUTCOME });
  assert.deepEqual(await rude.end(), { code: 4400, reason: 'frame.malformed' });
  await eventually(async () => /zl_relay_unproved_open\{.*\} 0\n/.test(await metrics()));
});

test('[BRG-08] streams that are opened and not used make room for an honest device', async (t) => {
  const settings = {
    'devices.maxUnproved': 20,
    'devices.handshake': '60s',
    'devices.connectsPerAddress': 1000,
  };
  const { clients, enrolment, metrics } = await relayWorld(t, { settings });
  const idle = Array.from({ length: 200 }, () => {
    const client = clients.dialStream();
    client.native.once('open', () => client.native.pause());
    return client;
  });
  await eventually(() => idle.every(({ closed, native }) => closed ?? native.id !== ''), {
    timeoutMs: 60_000,
  });
  const honest = clients.dialStream();
  await honest.prove(await enrolment.device({ deviceId: 'honest' }));
  await honest.welcome();
  const [, open] = /zl_relay_device_sockets_open\{.*\} (\d+)\n/.exec(await metrics())!;
  assert.ok(Number(open) <= 21, `${open} sockets are open`);
});

test('[BRG-08] a device that floods its stream is closed with 4429', async (t) => {
  const settings = { 'devices.framesPerSecond': 100, 'devices.bytesPerSecond': '1MiB' };
  const { clients, enrolment, metrics } = await relayWorld(t, { settings });
  const device = clients.dialStream();
  await device.prove(await enrolment.device({ deviceId: 'flood' }));
  await device.welcome();
  const pong = encodeRecord({ case: 'pong', value: {} });
  const pongs = Buffer.concat(Array.from({ length: 2500 }, () => pong));
  for (const _ of [1, 2]) device.native.post(pongs);
  assert.deepEqual(await device.end(), { code: 4429, reason: 'limit.exceeded' });
  assert.match(await metrics(), /zl_relay_sessions_total\{.*reason="limit".*\} 1\n/);
});

test('[BRG-08] a device over its rate is slowed on its stream and loses nothing', async (t) => {
  const settings = { 'devices.framesPerSecond': 200, 'sockets.heartbeat': '500ms' };
  const { clients, enrolment, metrics } = await relayWorld(t, { settings });
  const device = clients.dialStream();
  await device.prove(await enrolment.device({ deviceId: 'busy' }));
  await device.welcome();
  const host = await clients.host();
  const { handle, epoch } = await host.open('north', 'busy');
  const callId = randomBytes(16);
  host.send({ kind: FrameKind.CALL, device: handle, epoch, callId });
  await device.take(FrameKind.CALL);
  for (let first = 0; first < 600; first += 150) {
    const records = Array.from({ length: 150 }, (_, index) => {
      const frame = { kind: FrameKind.DATA, callId, epoch, offset: first + index };
      return encodeRecord({ case: 'frame', value: frameBytes(frame) });
    });
    device.native.post(Buffer.concat(records));
  }
  const offsets = () => host.frames.filter(({ kind }) => kind === FrameKind.DATA);
  await eventually(() => offsets().length === 600, { timeoutMs: 60_000 });
  assert.deepEqual(
    offsets().map(({ offset }) => offset),
    Array.from({ length: 600 }, (_, index) => index),
  );
  assert.match(await metrics(), /reads_paused_seconds_total\{.*limit="device"/);
  assert.equal(device.closed, undefined);
});

/** Microseconds of this process, which is all three, for a call of 200 B and its answer. */
async function costOfCall(host: HostClient, { handle, epoch }: OpenDevice): Promise<number> {
  const payload = Buffer.alloc(200);
  const before = process.cpuUsage();
  for (let n = 0; n < CALLS_PER_ROUND; n += 1) {
    host.send({ kind: FrameKind.CALL, device: handle, epoch, callId: randomBytes(16), payload });
    await new Promise<void>((resolve) => {
      host.onFrame = ({ kind }) => kind === FrameKind.OUTCOME && resolve();
    });
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS_PER_ROUND;
}

test('[BRG-08] a call costs one POST beside its frames', async (t) => {
  const { clients, enrolment, metrics } = await relayWorld(t);
  const stream = clients.dialStream();
  await stream.prove(await enrolment.device({ deviceId: 'behind' }));
  await stream.welcome();
  const { client } = await clients.device('direct');
  stream.echo();
  client.echo();
  const host = await clients.host();
  const requests = async () =>
    Number(/stream_requests_total\{.*"none".*\} (\d+)/.exec(await metrics())?.[1]);
  const before = await requests();
  const [behind, beside] = [await host.open('north', 'behind'), await host.open('north', 'direct')];
  // In turns, so that noise hits both.
  const rounds: [number, number][] = [];
  for (let n = 0; n < 4; n += 1) {
    rounds.push([await costOfCall(host, behind), await costOfCall(host, beside)]);
  }
  // Pongs take some.
  assert.ok((await requests()) - before < 220);
  // The least, because what disturbs a round only adds to it.
  const overStream = Math.min(...rounds.map(([cost]) => cost));
  const overSocket = Math.min(...rounds.map(([, cost]) => cost));
  const times = (overStream / overSocket).toFixed(1);
  t.diagnostic(
    `CPU of a call: ${overStream.toFixed()} us over HTTP, ${overSocket.toFixed()} us over a WebSocket, ${times} times`,
  );
});
