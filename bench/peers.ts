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

interface Way {
  readonly call: TimedCall;
  readonly us: number[];
  readonly inFlightUs: number[];
}

function wayOf(call: TimedCall): Way {
  return { call, us: [], inFlightUs: [] };
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
async function measure(ways: readonly Way[]): Promise<void> {
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) {
    for (const { call } of ways) await oneByOne(call);
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const { call, us } of ways) us.push(...(await oneByOne(call)));
  }
  for (const { call } of ways) await inFlight(call);
  for (let round = 0; round < FLOOD_ROUNDS; round += 1) {
    for (const { call, inFlightUs } of ways) inFlightUs.push(await inFlight(call));
  }
}

function figuresOf(ways: Readonly<Record<'own' | 'http' | 'sse', Way>>): Figure[] {
  const against = (
    metric: string,
    peer: 'http' | 'sse',
    { samples, share, goal }: { samples: 'us' | 'inFlightUs'; share: number; goal?: number },
  ): Figure => ({
    metric: `${metric}, to ${peer === 'sse' ? 'SSE' : 'HTTP'}`,
    unit: 'us',
    value: percentile(ways.own[samples], share),
    baseline: percentile(ways[peer][samples], share),
    ...(goal !== undefined && { goal }),
  });
  const { p50Http, p50Sse, timeInFlight, p99 } = GOALS;
  const own = ways.own.us;
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
  const { http, sse } = await peerCalls(system);
  const own = wayOf(await ownCall(system));
  const ways = { own, http: wayOf(http), sse: wayOf(sse) };
  await measure(Object.values(ways));
  report({
    name: 'peers',
    method: `${ROUNDS * CALLS_PER_ROUND} calls of fs.read of ${TEXT.length} bytes one at a time, from host to device and back over TLS with policy, journal and receipts, against ${PACKAGE} on plain loopback HTTP; and ${FLOOD_ROUNDS * FLOOD_CALLS} with ${AT_ONCE} in flight, whole calls by the client's clock; in turns`,
    figures: figuresOf(ways),
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
