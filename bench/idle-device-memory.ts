// What a proved and idle device costs the relay in memory, against an idle socket of bare uWebSockets.js.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { DeviceClient } from '../services/tool-relay/test/device-client.ts';
import { cleanUp, lifetime } from './lifetime.ts';
import { makeMaterial } from './relay/material.ts';
import { type Program, startProgram } from './relay/program.ts';
import { report } from './report.ts';

const WARM_UPS = 300;
const COUNT = 3000;
const AT_ONCE = 50;
/** DESIGN section 1: a device costs the relay a few KiB. */
const GOAL_BYTES = 8 * 1024;

/** Opens so many sockets, a few at once. */
async function openAll(total: number, open: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < total) {
      next += 1;
      await open(next);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** After what connecting took has been given back. */
async function settledRss({ rssBytes }: Program): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 20; look += 1) {
    await sleep(100);
    lowest = Math.min(lowest, rssBytes());
  }
  return lowest;
}

async function bytesPerSocket(
  program: Program,
  open: (index: number) => Promise<void>,
): Promise<number> {
  await openAll(WARM_UPS, (index) => open(COUNT + index));
  const before = await settledRss(program);
  await openAll(COUNT, open);
  return ((await settledRss(program)) - before) / COUNT;
}

const [engine = 'ws'] = process.argv.slice(2);
const material = await makeMaterial(engine);
const { authority, enrolment, certFile, keyFile, configFile } = material;
const { ca } = authority;

const floor = await startProgram('bench/floors/socket-floor.ts', [certFile, keyFile]);
const bare = await bytesPerSocket(floor, async () => {
  const socket = new WebSocket(`${floor.ready.socketUrl}/device`, { ca });
  lifetime.after(() => socket.terminate());
  await once(socket, 'open');
});
await floor.stop();

const TOOL = { name: 'read', description: 'Reads a file.', inputSchemaJson: '{"type":"object"}' };
const CATALOG = { servers: [{ name: 'fs', version: '1.0.0', tools: [TOOL] }] };
const relay = await startProgram('dist/tool-relay/main.mjs', ['--config', configFile]);
const proved = await bytesPerSocket(relay, async (index) => {
  const identity = await enrolment.device({ deviceId: `device-${index}` });
  const device = new DeviceClient(`${relay.ready.socketUrl}/v1/device`, { ca });
  lifetime.after(() => device.native.terminate());
  await device.prove(identity, { catalog: CATALOG });
  await device.welcome();
});
await cleanUp();

report({
  name: 'idle-device-memory',
  method: `growth of resident memory over ${COUNT} idle sockets after ${WARM_UPS} to warm up, engine ${engine}: proved devices with a lease, a credential and a catalog of one tool, against sockets of bare uWebSockets.js`,
  figures: [
    { metric: 'memory per idle device', value: proved, unit: 'bytes', baseline: bare },
    {
      metric: 'memory per idle device, against the goal',
      value: proved,
      unit: 'bytes',
      baseline: GOAL_BYTES,
      goal: 1,
    },
  ],
});
