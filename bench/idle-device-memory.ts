// What a proved and idle device costs the relay in memory, against an idle connection of bare TLS.
import { setTimeout as sleep } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import { cleanUp } from './lifetime.ts';
import { type Client, echoedConnection, liveDevice } from './relay/clients.ts';
import { makeMaterial } from './relay/material.ts';
import { type Program, startProgram } from './relay/program.ts';
import { type Figure, report } from './report.ts';
import { inTurns } from './scale/measure/relay-costs.ts';

/** Warms up, so that memory that grows with the first connections is not counted. */
const WARM_UPS = 1000;
const COUNTS = [3_000, 15_000];
/** Beyond the connection itself. */
const GOAL_BYTES = 6 * 1024;

/** After what connecting took has been given back. */
async function settledRss({ rssBytes }: Program): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 20; look += 1) {
    await sleep(100);
    lowest = Math.min(lowest, rssBytes());
  }
  return lowest;
}

/** The growth for each connection, at each of the counts. */
async function bytesEach(program: Program, open: () => Promise<Client>): Promise<number[]> {
  const clients: Client[] = [];
  const openUpTo = (count: number) =>
    inTurns(count - clients.length, async () => {
      clients.push(await open());
    });
  await openUpTo(WARM_UPS);
  const before = await settledRss(program);
  const bytes: number[] = [];
  for (const count of COUNTS) {
    await openUpTo(WARM_UPS + count);
    bytes.push(((await settledRss(program)) - before) / count);
  }
  await program.stop();
  for (const client of clients) client.destroy();
  return bytes;
}

try {
  const [engine = 'ws'] = process.argv.slice(2);
  const material = await makeMaterial(engine);
  const { authority, enrolment, certFile, keyFile, configFile } = material;
  const secureContext = createSecureContext({ ca: authority.ca });

  const floor = await startProgram('bench/floors/tls-floor.ts', [certFile, keyFile]);
  const port = Number(floor.ready.port);
  const bare = await bytesEach(floor, () => echoedConnection(port, secureContext));

  const relay = await startProgram('dist/tool-relay/main.mjs', ['--config', configFile]);
  const url = `${relay.ready.socketUrl}/v1/device`;
  let named = 0;
  const proved = await bytesEach(relay, async () => {
    named += 1;
    const identity = await enrolment.device({ deviceId: `device-${named}` });
    return liveDevice({ url, secureContext, localAddress: '127.0.0.1' }, identity);
  });

  report({
    name: 'idle-device-memory',
    method: `growth of resident memory after ${WARM_UPS} connections to warm up, engine ${engine}: proved devices with a lease, a credential and an empty catalog, against idle connections of a bare TLS server; the goal is ${GOAL_BYTES} bytes above those`,
    figures: COUNTS.map((count, index): Figure => {
      const [value = 0, baseline = 0] = [proved[index], bare[index]];
      const goal = Number(((baseline + GOAL_BYTES) / baseline).toPrecision(3));
      return { metric: `memory per idle device of ${count}`, unit: 'bytes', value, baseline, goal };
    }),
  });
} finally {
  await cleanUp();
}
