import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { eventually, frameBytes } from '@zerolatency/testing';
import type { DeviceClient } from './device-client.ts';
import type { HostClient } from './host-client.ts';
import { BINARY, closeOf, flood, frameHeader } from './raw-socket.ts';
import { relayWorld } from './relay-world.ts';

interface Calling {
  readonly host: HostClient;
  readonly client: DeviceClient;
  readonly tenant: string;
  readonly deviceId: string;
}

/** Begins a call; returns what sends frames of its result, and the offsets that the host has. */
async function beginCall({ host, client, tenant, deviceId }: Calling) {
  const { handle, epoch } = await host.open(tenant, deviceId);
  const callId = randomBytes(16);
  host.send({ kind: FrameKind.CALL, device: handle, epoch, callId });
  await client.take(FrameKind.CALL);
  const received: number[] = [];
  const { onFrame } = host;
  host.onFrame = (frame: Frame) => {
    onFrame(frame);
    if (frame.kind === FrameKind.DATA && frame.device === handle) received.push(frame.offset);
  };
  const send = (count: number, bytes = 0) => {
    const payload = Buffer.alloc(bytes);
    for (let offset = 0; offset < count; offset++) {
      client.send({ kind: FrameKind.DATA, callId, epoch, offset, payload });
    }
  };
  return { send, received };
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

test('[RLY-01] a device that sends three times its rate for a while is slowed and loses nothing', async (t) => {
  const settings = { 'devices.framesPerSecond': 200, 'sockets.heartbeat': '500ms' };
  const { clients, metrics } = await relayWorld(t, { settings });
  const { client } = await clients.device('busy');
  const host = await clients.host();
  const { send, received } = await beginCall({ host, client, tenant: 'north', deviceId: 'busy' });
  send(600);
  await eventually(() => received.length === 600, { timeoutMs: 60_000 });
  assert.deepEqual(received, numbers(600));
  assert.equal(client.closed, undefined);
  const [, paused] = /reads_paused_seconds_total\{.*limit="device".*\} (\S+)/.exec(
    await metrics(),
  )!;
  assert.ok(Number(paused) > 0);
});

test('[RLY-01] a large result of a device with a small rate arrives', async (t) => {
  const settings = { 'devices.bytesPerSecond': '4MiB' };
  const { clients } = await relayWorld(t, { settings });
  const { client } = await clients.device('busy');
  const host = await clients.host();
  const { send, received } = await beginCall({ host, client, tenant: 'north', deviceId: 'busy' });
  send(40, 256 * 1024);
  await eventually(() => received.length === 40, { timeoutMs: 60_000 });
  assert.deepEqual(received, numbers(40));
  assert.equal(client.closed, undefined);
});

test('[RLY-01] a tenant over its rate is slowed, its devices in turns and other tenants not at all', async (t) => {
  const settings = { 'tenants.framesPerSecond': 200 };
  const { clients, metrics } = await relayWorld(t, { settings });
  const host = await clients.host();
  const begin = async (deviceId: string, tenant = 'north') => {
    const { client } = await clients.device(deviceId, tenant);
    return { client, ...(await beginCall({ host, client, tenant, deviceId })) };
  };
  const flooding = await begin('flooding');
  const quiet = await begin('quiet');
  const other = await begin('elsewhere', 'south');
  flooding.send(1000);
  await eventually(() => flooding.received.length >= 200);
  quiet.send(5);
  other.send(150);
  await eventually(() => other.received.length === 150 && quiet.received.length === 5);
  assert.ok(flooding.received.length < 1000, 'the flood was over first');
  await eventually(() => flooding.received.length === 1000, { timeoutMs: 60_000 });
  assert.deepEqual(flooding.received, numbers(1000));
  for (const { client } of [flooding, quiet, other]) assert.equal(client.closed, undefined);
  assert.match(await metrics(), /reads_paused_seconds_total\{.*limit="tenant".*\} [1-9]/);
});

test("[RLY-01] a flood of frames ends only its own device's session", async (t) => {
  const settings = { 'devices.framesPerSecond': 20 };
  const { clients, metrics } = await relayWorld(t, { settings });
  const quiet = await clients.device('quiet');
  const { client } = await clients.device('noisy');
  const socket: unknown = Reflect.get(client.native, '_socket');
  assert.ok(socket instanceof Socket);
  const frame = frameBytes({ kind: FrameKind.DATA, callId: randomBytes(16) });
  const closed = closeOf(socket);
  flood(socket, Buffer.concat([frameHeader(BINARY, { bytes: frame.length }), frame]));
  await closed;
  assert.equal(quiet.client.closed, undefined);
  await eventually(async () =>
    /zl_relay_sessions_total\{.*reason="limit".*\} 1/.test(await metrics()),
  );
});
