// What the relay costs a call on its way from host to device and back, against bare uWebSockets.js forwarding bytes.

import { cleanUp } from './lifetime.ts';
import { makeMaterial } from './relay/material.ts';
import { bareWay, poolWay, relayWay, type Way } from './relay/ways.ts';
import { type Figure, percentile, report } from './report.ts';

const WARM_UPS = 3000;
const ROUNDS = 8;
const CALLS_PER_ROUND = 1500;
const FLOOD_CALLS = 20_000;
/** Calls in flight at once while counting how many a core carries. */
const WINDOW = 64;
/** Times the bare sockets. */
const GOALS = { p50: 2, p99: 3, floodCpu: 2.5 };

interface Samples {
  readonly latencyUs: number[];
  readonly floodUs: number[];
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
  samples.floodUs.push(((await flood(way, FLOOD_CALLS)) * 1e6) / FLOOD_CALLS);
  samples.floodCpuUs.push((program.cpuUs() - betweenUs) / FLOOD_CALLS);
}

function empty(): Samples {
  return { latencyUs: [], floodUs: [], oneCpuUs: [], floodCpuUs: [] };
}

function figuresOf(through: string, { relay, bare }: Record<'relay' | 'bare', Samples>): Figure[] {
  const figure = (metric: string, of: keyof Samples, share: number, goal?: number): Figure => ({
    metric: `${metric}, ${through}`,
    unit: 'us',
    value: percentile(relay[of], share),
    baseline: percentile(bare[of], share),
    ...(goal !== undefined && { goal }),
  });
  return [
    figure('host, device and back, p50', 'latencyUs', 0.5, GOALS.p50),
    figure('host, device and back, p99', 'latencyUs', 0.99, GOALS.p99),
    figure('relay CPU per call, one at a time', 'oneCpuUs', 0.5),
    figure('relay CPU per call, in flight', 'floodCpuUs', 0.5, GOALS.floodCpu),
    figure('time per call, in flight', 'floodUs', 0.5),
  ];
}

const [engine = 'ws'] = process.argv.slice(2);
const material = await makeMaterial(engine);
const bare = { way: await bareWay(material), samples: empty() };
const relay = { way: await relayWay(material), samples: empty() };
const twoPods = await poolWay(material);
const pool = twoPods && { way: twoPods, samples: empty() };
const all = [bare, relay, ...(pool === undefined ? [] : [pool])];
for (const { way } of all) await oneByOne(way, WARM_UPS);
for (const { way } of all) await flood(way, FLOOD_CALLS);
// In turns, so that the noise of the machine hits each.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const { way, samples } of all) await measure(way, samples);
}
await cleanUp();

const against = (samples: Samples) => ({ relay: samples, bare: bare.samples });
report({
  name: 'relay-path',
  method: `${ROUNDS * CALLS_PER_ROUND} round trips of a 200 byte payload one at a time, and ${ROUNDS * FLOOD_CALLS} with ${WINDOW} in flight, over TLS with engine ${engine}, in turns with bare uWebSockets.js forwarding the same bytes. A call is three frames, CALL, OUTCOME and ACK; the baseline forwards two.`,
  figures: [
    ...figuresOf('one pod', against(relay.samples)),
    ...(pool === undefined ? [] : figuresOf('two pods', against(pool.samples))),
  ],
});
if (pool === undefined)
  console.log('  two pods: not measured, because redis-server is not installed');
