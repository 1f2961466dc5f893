// What a large result costs each process on its way from an MCP server to the host's client, against a bare
// pipe that is parsed and bare WebSockets over TLS. CPU and not time, because other programs disturb it less.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import type { ChatStream } from '../services/cli/src/chat/session.ts';
import { projectRoot } from '../services/cli/src/installation/layout.ts';
import { runningPid, type Service } from '../services/cli/src/installation/processes.ts';
import { addServers, configOf, editConfig } from '../test/e2e/effects.ts';
import { callIn, type System, startSystem } from '../test/e2e/system.ts';
import { cleanUp, lifetime } from './lifetime.ts';
import { type Program, processFigures, startProgram } from './relay/program.ts';
import { type Figure, report } from './report.ts';

const SERVER = join(projectRoot, 'bench/floors/large-server.mjs');
const GOAL_CPU_MS_PER_MB = 12;
const GOAL_MB_PER_SECOND = 60;
const FLOOR_BYTES = 10_000_000;
const FLOOR_ROUNDS = 10;
const CASES = [
  { kind: 'text', chars: 200, calls: 400 },
  { kind: 'text', chars: 1_000_000, calls: 20 },
  { kind: 'text', chars: 10_000_000, calls: 6 },
  { kind: 'base64', chars: 10_000_000, calls: 6 },
] as const;

type Measured = Pick<Program, 'cpuUs' | 'rssBytes' | 'peakBytes'>;

/** CPU per MB of what no way can do without, in milliseconds. */
interface Floors {
  readonly pipe: number;
  readonly send: number;
  readonly receive: number;
  /** Time, not CPU. */
  readonly socketMs: number;
}

function start(): Promise<System> {
  return startSystem(lifetime, {
    async prepare(layout) {
      const read = [join(projectRoot, 'node_modules'), SERVER];
      await addServers(layout, [
        { name: 'large', args: [SERVER], grants: { read }, effects: { get: 'none' } },
      ]);
      const { tools } = await configOf(layout.host.config);
      const scriptFile = join(projectRoot, 'bench/tool-call-script.yaml');
      await editConfig(layout.host.config, {
        tools: { ...tools, maxResult: '16MiB' },
        providers: { mock: { scriptFile } },
      });
    },
  });
}

/** The server's line, read from its pipe and parsed. */
async function pipeFloor(): Promise<number> {
  const child = spawn(process.execPath, [SERVER], { stdio: ['pipe', 'pipe', 'inherit'] });
  lifetime.after(() => child.kill());
  const ask = (id: number) =>
    new Promise<void>((resolve) => {
      const chunks: Buffer[] = [];
      const onData = (chunk: Buffer) => {
        chunks.push(chunk);
        if (chunk.at(-1) !== 0x0a) return;
        child.stdout.off('data', onData);
        JSON.parse(Buffer.concat(chunks).toString());
        resolve();
      };
      child.stdout.on('data', onData);
      const params = { name: 'get', arguments: { kind: 'text', chars: FLOOR_BYTES } };
      child.stdin.write(
        `${JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params })}\n`,
      );
    });
  await ask(0);
  const before = process.cpuUsage();
  for (let round = 1; round <= FLOOR_ROUNDS; round += 1) await ask(round);
  return perMb(process.cpuUsage(before));
}

async function socketFloor({ layout }: System): Promise<Omit<Floors, 'pipe'>> {
  const { cert, key } = layout.tls('model-host');
  const sender = await startProgram(join(projectRoot, 'bench/floors/large-socket.ts'), [cert, key]);
  const socket = new WebSocket(sender.ready.url ?? '', {
    ca: readFileSync(layout.authority.cert),
    perMessageDeflate: false,
  });
  lifetime.after(() => socket.terminate());
  await once(socket, 'open');
  let missing = 0;
  let whole: () => void = () => {};
  socket.on('message', (data: Buffer) => {
    missing -= data.length;
    if (missing === 0) whole();
  });
  const ask = () =>
    new Promise<void>((resolve) => {
      missing = FLOOR_BYTES;
      whole = resolve;
      socket.send(`${FLOOR_BYTES}`);
    });
  await ask();
  const [before, sentUs, startMs] = [process.cpuUsage(), sender.cpuUs(), performance.now()];
  for (let round = 0; round < FLOOR_ROUNDS; round += 1) await ask();
  const mb = (FLOOR_ROUNDS * FLOOR_BYTES) / 1e6;
  return {
    receive: perMb(process.cpuUsage(before)),
    send: (sender.cpuUs() - sentUs) / 1000 / mb,
    socketMs: (performance.now() - startMs) / mb,
  };
}

function perMb({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1000 / ((FLOOR_ROUNDS * FLOOR_BYTES) / 1e6);
}

async function processesOf({ layout }: System): Promise<ReadonlyMap<Service, Measured>> {
  const found = new Map<Service, Measured>();
  for (const service of ['device-bridge', 'tool-relay', 'model-host'] as const) {
    found.set(service, processFigures((await runningPid(layout, service)) ?? 0));
  }
  return found;
}

interface Run {
  readonly chat: ChatStream;
  readonly processes: ReadonlyMap<Service, Measured>;
  readonly floors: Floors;
}

async function measure(
  { kind, chars, calls }: (typeof CASES)[number],
  run: Run,
): Promise<Figure[]> {
  const { chat, processes, floors } = run;
  const call = async () => {
    const { outcome, errorMessage } = await callIn(chat, 'large.get', { kind, chars });
    if (outcome !== 'DONE') throw new Error(`${outcome} ${errorMessage}`);
  };
  for (let warmUp = 0; warmUp < calls; warmUp += 1) await call();
  const before = [...processes.values()].map((each) => ({
    us: each.cpuUs(),
    rss: each.rssBytes(),
  }));
  const startMs = performance.now();
  for (let n = 0; n < calls; n += 1) await call();
  const ms = performance.now() - startMs;
  const mb = (calls * chars) / 1e6;
  const isSmall = chars < 1_000;
  const of = `${isSmall ? '200 B' : `${chars / 1e6} MB`} of ${kind}`;
  const figures: Figure[] = [];
  for (const [index, [service, each]] of [...processes].entries()) {
    const { us = 0, rss = 0 } = before[index] ?? {};
    const usedMs = (each.cpuUs() - us) / 1000;
    console.log(
      `${of}, ${service}: ${(usedMs / calls).toFixed(2)} ms of CPU a call, memory ${mib(rss)} -> ${mib(each.rssBytes())}, at most ${mib(each.peakBytes())} MiB`,
    );
    if (isSmall) continue;
    const baseline = floorOf(service, floors);
    const goal = rounded(GOAL_CPU_MS_PER_MB / baseline);
    figures.push({
      metric: `${of}, ${service}`,
      value: usedMs / mb,
      unit: 'ms/MB',
      baseline,
      goal,
    });
  }
  if (isSmall) return figures;
  const goal = rounded(1000 / GOAL_MB_PER_SECOND / floors.socketMs);
  return [
    ...figures,
    { metric: `${of}, time`, value: ms / mb, unit: 'ms/MB', baseline: floors.socketMs, goal },
  ];
}

function floorOf(service: Service, { pipe, send, receive }: Floors): number {
  return service === 'device-bridge' ? pipe + send : receive + send;
}

function rounded(ratio: number): number {
  return Number(ratio.toPrecision(3));
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(0);
}

try {
  const system = await start();
  const floors = { pipe: await pipeFloor(), ...(await socketFloor(system)) };
  const run = { chat: await system.chat(), processes: await processesOf(system), floors };
  const figures: Figure[] = [];
  for (const each of CASES) figures.push(...(await measure(each, run)));
  report({
    name: 'large-results',
    method:
      'results of an MCP server through bridge, relay and host to a client, CPU of each process, against receiving and sending as many bytes (the bridge: reading and parsing its pipe, and sending)',
    figures,
  });
} finally {
  await cleanUp();
}
