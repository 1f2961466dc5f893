import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { FrameKind } from '@zerolatency/frame';
import { eventually, frameBytes } from '@zerolatency/testing';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { type AttackedRelay, relayProgram } from './relay-program.ts';

const MIB = 1024 * 1024;
const DEVICES = 50;
const FLOODING = 'flooding';
/** Far more than the memory that the flood may take. */
const FLOOD_BYTES = size({ short: 192, long: 16_384 }) * MIB;
const MAX_GROWTH_MIB = 64;
/** Sent and not yet with the host: a relay cuts devices that send more than their host reads. */
const MAX_IN_FLIGHT_BYTES = 4 * MIB;
/** What a device sends at once: small frames and a large one. */
const SMALL_FRAMES = 20;
const [SMALL_BYTES, LARGE_BYTES] = [200, 64 * 1024];

interface FloodingDevice {
  readonly client: Awaited<ReturnType<AttackedRelay['device']>>;
  readonly frames: readonly Uint8Array[];
}

/** Devices of one tenant with a call each, whose results have no end. */
async function tenantFlood(relay: AttackedRelay) {
  const host = await relay.host();
  const devices: FloodingDevice[] = [];
  for (let nth = 0; nth < DEVICES; nth++) {
    const deviceId = `flooding-${nth}`;
    const client = await relay.device(deviceId, FLOODING);
    const { handle, epoch } = await host.open(FLOODING, deviceId);
    const callId = randomBytes(16);
    host.send({ kind: FrameKind.CALL, device: handle, epoch, callId });
    await client.take(FrameKind.CALL);
    const frame = (bytes: number) =>
      frameBytes({ kind: FrameKind.DATA, callId, epoch, payload: randomBytes(bytes) });
    const frames = [...Array.from({ length: SMALL_FRAMES }, () => SMALL_BYTES), LARGE_BYTES];
    devices.push({ client, frames: frames.map(frame) });
  }
  let sentBytes = 0;
  let receivedBytes = 0;
  host.native.removeAllListeners('message');
  host.native.on('message', (data: Buffer) => {
    receivedBytes += data.length;
  });
  let isOver = false;
  const send = async () => {
    for (let next = 0; !isOver; ) {
      while (sentBytes - receivedBytes < MAX_IN_FLIGHT_BYTES) {
        const { client, frames } = devices[next++ % DEVICES]!;
        for (const frame of frames) {
          client.sendBytes(frame);
          sentBytes += frame.length;
        }
      }
      await turn();
    }
  };
  const sending = send();
  const passed = async (bytes: number) => {
    const wantedBytes = receivedBytes + bytes;
    await eventually(() => receivedBytes >= wantedBytes, { timeoutMs: TIMEOUT_MS });
  };
  const end = async () => {
    isOver = true;
    await sending;
  };
  return { devices, passed, end };
}

test('[RLY-03] [RLY-01] a tenant that floods valid frames takes bounded memory, and calls of another go on', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const relay = await relayProgram(t, { engine: 'ws' });
  const calls = await relay.calls(await relay.device('honest'), 'honest');
  const flood = await tenantFlood(relay);
  // The first frames make buffers and compiled code that stay.
  await flood.passed(FLOOD_BYTES / 4);
  const beforeMib = relay.rssMib();
  const mostRssMib = relay.mostRssMib();
  const honest = calls(2_000, TIMEOUT_MS);
  await flood.passed(FLOOD_BYTES);
  const { answered, unanswered } = await honest;
  const growthMib = mostRssMib() - beforeMib;
  await flood.end();
  const cut = flood.devices.filter(({ client }) => client.closed !== undefined).length;
  const attack = 'tenant-flood';
  figure(t, { attack, name: 'growth of the relay', value: growthMib, unit: 'MiB' });
  figure(t, { attack, name: 'calls of the other tenant', value: answered, unit: 'calls' });
  assert.ok(growthMib < MAX_GROWTH_MIB, `${growthMib} MiB`);
  assert.equal(unanswered, 0);
  assert.ok(answered > 0);
  assert.equal(cut, 0, 'flooding devices were cut and not slowed');
  assert.ok((await relay.metric('zl_relay_reads_paused_seconds_total')) > 0);
});
