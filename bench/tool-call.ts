// What a tool call costs through host, relay and bridge, against asking the same MCP server directly over stdio.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectMcp, type McpConnection } from '@zerolatency/mcp';
import { durationMicros } from '@zerolatency/service/rpc';
import type { ChatStream } from '../services/cli/src/chat/session.ts';
import { projectRoot } from '../services/cli/src/installation/layout.ts';
import { editConfig } from '../test/e2e/effects.ts';
import { bundles, runTurn, type System, startSystem } from '../test/e2e/system.ts';
import { cleanUp, lifetime } from './lifetime.ts';
import { percentile, report } from './report.ts';

/** Enough for the compilers of five processes to have seen everything. */
const WARM_UP_ROUNDS = 20;
const ROUNDS = 24;
const CALLS_PER_ROUND = 25;
const FILE = 'sample.txt';

async function startDirectly({ layout }: System): Promise<McpConnection> {
  const script = join(bundles, 'device-bridge/fs-server.mjs');
  const args = ['--disable-warning=ExperimentalWarning', script, '--root', layout.device.files];
  return await connectMcp({
    transport: { kind: 'stdio', command: process.execPath, args, env: {} },
    client: { name: 'bench', version: '1' },
  });
}

async function timeDirectly(server: McpConnection): Promise<number> {
  const started = performance.now();
  await server.request(
    'tools/call',
    { name: 'read', arguments: { path: FILE } },
    { timeoutMs: 5000 },
  );
  return (performance.now() - started) * 1000;
}

interface PathSample {
  readonly totalUs: number;
  readonly remoteUs: number;
  readonly deviceUs: number;
  readonly serverUs: number;
}

async function timeThroughPath(session: ChatStream): Promise<PathSample> {
  const { events, ending } = await runTurn(session, `read ${FILE}`);
  const done = events.find(({ event }) => event.case === 'toolCallDone')?.event;
  const timing = done?.case === 'toolCallDone' ? done.value.timing : undefined;
  if (ending !== 'done' || timing === undefined) throw new Error(`the turn ended with ${ending}`);
  return {
    totalUs: durationMicros(timing.total),
    remoteUs: durationMicros(timing.remote),
    deviceUs: durationMicros(timing.device),
    serverUs: durationMicros(timing.server),
  };
}

async function repeat<T>(measure: () => Promise<T>): Promise<T[]> {
  const samples: T[] = [];
  for (let i = 0; i < CALLS_PER_ROUND; i += 1) samples.push(await measure());
  return samples;
}

interface Samples {
  readonly direct: readonly number[];
  readonly through: readonly PathSample[];
}

/** In turns, so that the noise of the machine hits both. */
async function measure(system: System, server: McpConnection): Promise<Samples> {
  const direct: number[] = [];
  const through: PathSample[] = [];
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
    // A session of its own, or its history would be measured too.
    const chat = await system.chat();
    const asked = await repeat(() => timeDirectly(server));
    const called = await repeat(() => timeThroughPath(chat));
    chat.close();
    if (round < 0) continue;
    direct.push(...asked);
    through.push(...called);
  }
  return { direct, through };
}

function tell({ direct, through }: Samples): void {
  const of = (part: keyof PathSample) => through.map((sample) => sample[part]);
  const added = through.map(({ totalUs, serverUs }) => totalUs - serverUs);
  const figure = (metric: string, samples: readonly number[], share: number) => ({
    metric: `${metric}, p${share * 100}`,
    value: percentile(samples, share),
    unit: 'us',
    baseline: percentile(direct, share),
  });
  report({
    name: 'tool-call',
    method: `${through.length} calls of fs.read of 200 bytes, one at a time, over TLS with policy, schemas, journal, receipts and synced ledger, against the same server asked directly`,
    figures: [
      figure('whole call', of('totalUs'), 0.5),
      figure('whole call', of('totalUs'), 0.99),
      figure('added to the server itself', added, 0.5),
      figure('added to the server itself', added, 0.99),
      figure('from host to device and back', of('remoteUs'), 0.5),
      figure('in the bridge', of('deviceUs'), 0.5),
      figure('in the MCP server, behind the bridge', of('serverUs'), 0.5),
    ],
  });
}

try {
  const system = await startSystem(lifetime, {
    prepare: async ({ host }) => {
      const scriptFile = join(projectRoot, 'bench/tool-call-script.yaml');
      await editConfig(host.config, { providers: { mock: { scriptFile } } });
    },
  });
  writeFileSync(join(system.layout.device.files, FILE), 'x'.repeat(200));
  const server = await startDirectly(system);
  lifetime.after(() => server.close());
  tell(await measure(system, server));
} finally {
  await cleanUp();
}
