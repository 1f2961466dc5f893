// A tool call through host, relay and bridge, against supergateway, which puts the same MCP server behind HTTP.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { AgentService, CallOutcome } from '@zerolatency/proto/agent';
import { durationMicros } from '@zerolatency/service/rpc';
import { chatTarget } from '../services/cli/src/commands/chat.ts';
import { configOf, editConfig } from '../test/e2e/effects.ts';
import { bundles, type System, startSystem } from '../test/e2e/system.ts';
import { cleanUp, lifetime } from './lifetime.ts';
import { isInstalled, PACKAGE, serverSentEvents, streamableHttp } from './peers/supergateway.ts';
import { type Figure, percentile, report } from './report.ts';

const FILE = 'sample.txt';
const TEXT = 'x'.repeat(200);
/** A p99 rests on 5,000 samples; fewer rounds, for a look, are the first argument. */
const ROUNDS = Number(process.argv[2] ?? 200);
const WARM_UP_ROUNDS = Math.ceil(ROUNDS / 10);
const CALLS_PER_ROUND = 25;
const AT_ONCE = 64;
const FLOOD_ROUNDS = 5;
const FLOOD_CALLS = 1000;
const GOALS = { p50Http: 1, p50Sse: 1.2, timeInFlight: 0.333, p99: 5 };

/** Resolves with what the call took, in microseconds: from host to device and back, or from client to peer and back. */
type TimedCall = () => Promise<number>;

async function ownCall(system: System): Promise<TimedCall> {
  const { url, ca, token, deviceId } = await chatTarget(system.settings, {});
  const transport = createGrpcTransport({ baseUrl: url, nodeOptions: { ca } });
  const client = createClient(AgentService, transport);
  const headers = { authorization: `Bearer ${token}` };
  const asked = { tool: 'fs.read', argumentsJson: JSON.stringify({ path: FILE }), deviceId };
  return async () => {
    let remoteUs: number | undefined;
    for await (const { event } of client.callTool(asked, { headers })) {
      if (event?.event.case !== 'toolCallDone') continue;
      const { outcome, error, timing } = event.event.value;
      if (outcome !== CallOutcome.DONE) throw new Error(`${error?.id}: ${error?.message}`);
      remoteUs = durationMicros(timing?.remote);
    }
    if (remoteUs === undefined) throw new Error('the call did not end');
    return remoteUs;
  };
}

async function peerCalls({ layout }: System): Promise<{ http: TimedCall; sse: TimedCall }> {
  const server = join(bundles, 'device-bridge/fs-server.mjs');
  const flags = '--disable-warning=ExperimentalWarning';
  const command = `${process.execPath} ${flags} ${server} --root ${layout.device.files}`;
  const timed = (peer: Awaited<ReturnType<typeof streamableHttp>>): TimedCall => {
    return async () => {
      const startedMs = performance.now();
      const text = await peer.call('read', { path: FILE });
      if (!text.includes(TEXT)) throw new Error(`the peer answered ${text}`);
      return (performance.now() - startedMs) * 1000;
    };
  };
  return {
    http: timed(await streamableHttp(command, AT_ONCE)),
    sse: timed(await serverSentEvents(command, AT_ONCE)),
  };
}

interface Samples {
  readonly us: number[];
  readonly inFlightUs: number[];
}

async function oneByOne(call: TimedCall): Promise<number[]> {
  const us: number[] = [];
  for (let index = 0; index < CALLS_PER_ROUND; index += 1) us.push(await call());
  return us;
}

/** The time for each call while many run. */
async function inFlight(call: TimedCall): Promise<number> {
  const startedMs = performance.now();
  let left = FLOOD_CALLS;
  const caller = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
  return ((performance.now() - startedMs) * 1000) / FLOOD_CALLS;
}

/** In turns, so that the noise of the machine hits all. */
async function measure<Name extends string>(calls: Readonly<Record<Name, TimedCall>>) {
  const names = Object.keys(calls) as Name[];
  const samples = new Map<Name, Samples>(names.map((name) => [name, { us: [], inFlightUs: [] }]));
  const each = async (run: (call: TimedCall, into: Samples) => Promise<void>) => {
    for (const name of names)
      await run(calls[name], samples.get(name) ?? { us: [], inFlightUs: [] });
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1)
    await each(async (call) => void (await oneByOne(call)));
  for (let round = 0; round < ROUNDS; round += 1) {
    await each(async (call, { us }) => void us.push(...(await oneByOne(call))));
  }
  await each(async (call) => void (await inFlight(call)));
  for (let round = 0; round < FLOOD_ROUNDS; round += 1) {
    await each(async (call, { inFlightUs }) => void inFlightUs.push(await inFlight(call)));
  }
  return (name: Name) => samples.get(name) ?? { us: [], inFlightUs: [] };
}

function figuresOf(of: (name: 'own' | 'http' | 'sse') => Samples): Figure[] {
  const against = (
    metric: string,
    peer: 'http' | 'sse',
    { samples, share, goal }: { samples: keyof Samples; share: number; goal?: number },
  ): Figure => ({
    metric: `${metric}, to ${peer === 'sse' ? 'SSE' : 'HTTP'}`,
    unit: 'us',
    value: percentile(of('own')[samples], share),
    baseline: percentile(of(peer)[samples], share),
    ...(goal !== undefined && { goal }),
  });
  const { p50Http, p50Sse, timeInFlight, p99 } = GOALS;
  const own = of('own').us;
  return [
    against('one call, p50', 'http', { samples: 'us', share: 0.5, goal: p50Http }),
    against('one call, p50', 'sse', { samples: 'us', share: 0.5, goal: p50Sse }),
    against('one call, p99', 'http', { samples: 'us', share: 0.99 }),
    against('one call, p99', 'sse', { samples: 'us', share: 0.99 }),
    {
      metric: 'one call, p99 against p50',
      unit: 'us',
      value: percentile(own, 0.99),
      baseline: percentile(own, 0.5),
      goal: p99,
    },
    against('time per call, 64 in flight', 'http', {
      samples: 'inFlightUs',
      share: 0.5,
      goal: timeInFlight,
    }),
    against('time per call, 64 in flight', 'sse', {
      samples: 'inFlightUs',
      share: 0.5,
      goal: timeInFlight,
    }),
  ];
}

async function main(): Promise<void> {
  const system = await startSystem(lifetime, {
    prepare: async ({ host }) => {
      const { limits } = await configOf(host.config);
      await editConfig(host.config, { limits: { ...limits, turnsPerUser: 2 * AT_ONCE } });
    },
  });
  writeFileSync(join(system.layout.device.files, FILE), TEXT);
  const own = await ownCall(system);
  const { http, sse } = await peerCalls(system);
  report({
    name: 'peers',
    method: `${ROUNDS * CALLS_PER_ROUND} calls of fs.read of ${TEXT.length} bytes one at a time, from host to device and back over TLS with policy, journal and receipts, against ${PACKAGE} on plain loopback HTTP; and ${FLOOD_ROUNDS * FLOOD_CALLS} with ${AT_ONCE} in flight, whole calls by the client's clock; in turns`,
    figures: figuresOf(await measure({ own, http, sse })),
  });
}

if (isInstalled) {
  try {
    await main();
  } finally {
    await cleanUp();
  }
} else {
  console.log(
    '\npeers: not measured; npm install --prefix bench/peers --no-package-lock installs them',
  );
}
