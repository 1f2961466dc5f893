// What the relay costs a call on its way from host to device and back, against bare uWebSockets.js forwarding bytes.

import { cleanUp } from './lifetime.ts';
import { makeMaterial } from './relay/material.ts';
import { bareWay, relayWay, type Way } from './relay/ways.ts';
import { percentile, report } from './report.ts';

const WARM_UPS = 3000;
const ROUNDS = 8;
const CALLS_PER_ROUND = 1500;
const FLOOD_CALLS = 20_000;
/** Calls in flight at once while counting how many a core carries. */
const WINDOW = 64;
/** DESIGN section 8 and issue 3: twice the bare socket at p50. */
const GOAL = 2;

interface Samples {
  readonly latencyUs: number[];
  readonly callsPerSecond: number[];
  readonly oneCpuUs: number[];
  readonly floodCpuUs: number[];
}

async function oneByOne(way: Way, count: number): Promise<number[]> {
  const latencyUs: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const started = performance.now();
    const answered = new Promise<void>((resolve) => {
      way.onAnswer = resolve;
    });
    way.call();
    await answered;
    latencyUs.push((performance.now() - started) * 1000);
  }
  return latencyUs;
}

/** Gives the seconds it took. */
async function flood(way: Way, count: number): Promise<number> {
  const started = performance.now();
  await new Promise<void>((resolve) => {
    let answers = 0;
    way.onAnswer = () => {
      answers += 1;
      if (answers <= count - WINDOW) way.call();
      if (answers === count) resolve();
    };
    for (let i = 0; i < WINDOW; i += 1) way.call();
  });
  return (performance.now() - started) / 1000;
}

async function measure(way: Way, samples: Samples): Promise<void> {
  const { program } = way;
  const beganUs = program.cpuUs();
  samples.latencyUs.push(...(await oneByOne(way, CALLS_PER_ROUND)));
  const betweenUs = program.cpuUs();
  samples.oneCpuUs.push((betweenUs - beganUs) / CALLS_PER_ROUND);
  samples.callsPerSecond.push(FLOOD_CALLS / (await flood(way, FLOOD_CALLS)));
  samples.floodCpuUs.push((program.cpuUs() - betweenUs) / FLOOD_CALLS);
}

const empty = (): Samples => ({
  latencyUs: [],
  callsPerSecond: [],
  oneCpuUs: [],
  floodCpuUs: [],
});
const [engine = 'ws'] = process.argv.slice(2);
const material = await makeMaterial(engine);
const ways = { bare: await bareWay(material), relay: await relayWay(material) };
const samples = { bare: empty(), relay: empty() };
for (const way of Object.values(ways)) await oneByOne(way, WARM_UPS);
for (const way of Object.values(ways)) await flood(way, FLOOD_CALLS);
// In turns, so that the noise of the machine hits both.
for (let round = 0; round < ROUNDS; round += 1) {
  await measure(ways.bare, samples.bare);
  await measure(ways.relay, samples.relay);
}
await cleanUp();

const pair = (of: keyof Samples, share: number) => ({
  value: percentile(samples.relay[of], share),
  baseline: percentile(samples.bare[of], share),
});
const seconds = pair('callsPerSecond', 0.5);
report({
  name: 'relay-path',
  method: `${ROUNDS * CALLS_PER_ROUND} round trips of a 200 byte payload one at a time, and ${ROUNDS * FLOOD_CALLS} with ${WINDOW} in flight, over TLS with engine ${engine}, in turns with bare uWebSockets.js forwarding the same bytes. A call is three frames, CALL, OUTCOME and ACK; the baseline forwards two.`,
  figures: [
    {
      metric: 'host, relay, device and back, p50',
      unit: 'us',
      ...pair('latencyUs', 0.5),
      goal: GOAL,
    },
    { metric: 'host, relay, device and back, p99', unit: 'us', ...pair('latencyUs', 0.99) },
    { metric: 'relay CPU per call, one at a time', unit: 'us', ...pair('oneCpuUs', 0.5) },
    { metric: 'relay CPU per call, in flight', unit: 'us', ...pair('floodCpuUs', 0.5) },
    {
      metric: 'time per call, in flight',
      unit: 'us',
      value: 1e6 / seconds.value,
      baseline: 1e6 / seconds.baseline,
    },
  ],
});
console.log(
  `  calls a second: ${Math.round(seconds.value)} through the relay, ${Math.round(seconds.baseline)} bare`,
);
