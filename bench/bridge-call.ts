// What a call costs in the bridge, from its socket to a server's stdin and from the server's answer back to the socket,
// against a bare pipe to the same server and a bare WebSocket. Folders of bundles as arguments are measured in turns.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { FrameKind } from '@zerolatency/frame';
import type { CommandServer } from '@zerolatency/manifest';
import { nodeLauncher } from '@zerolatency/testing';
import { WebSocket } from 'ws';
import { makeRig, type Rig } from '../services/device-bridge/test/bridge-rig.ts';
import { sha256Of } from '../services/device-bridge/test/manifests.ts';
import { cleanUp, lifetime } from './lifetime.ts';
import { type Program, processFigures } from './relay/program.ts';
import { type Figure, percentile, report } from './report.ts';

const SERVER = join(import.meta.dirname, 'floors/large-server.mjs');
const WARM_UP_ROUNDS = 10;
const ROUNDS = 40;
const CALLS_PER_ROUND = 50;
const IN_FLIGHT = 64;
const CALLS_IN_FLIGHT = 4_000;
const ARGUMENTS = { kind: 'stamp', chars: 200 };

/** Microseconds of the machine's monotonic clock, which every process reads alike. */
const nowUs = () => Number(process.hrtime.bigint()) / 1000;

interface Sample {
  readonly toServerUs: number;
  readonly backUs: number;
}

interface Bridge {
  readonly name: string;
  readonly rig: Rig;
  readonly process: Pick<Program, 'cpuUs'>;
}

/** The same server, with and without effects: a call of one is synced to the disk. */
function serverSpec(name: string, effects?: CommandServer['effects']): CommandServer {
  return {
    name,
    command: nodeLauncher,
    sha256: sha256Of(nodeLauncher),
    args: [SERVER],
    files: [{ path: SERVER, sha256: sha256Of(SERVER) }],
    unpinned: true,
    env: { allow: [], set: {} },
    grants: { read: [join(import.meta.dirname, '../node_modules')] },
    ...(effects && { effects }),
  };
}

async function startBridge(folder: string): Promise<Bridge> {
  const servers = () => [serverSpec('reads', { get: 'none' }), serverSpec('acts')];
  const rig = await makeRig(lifetime, { servers });
  const configFile = join(rig.dir, 'bridge.json');
  writeFileSync(configFile, JSON.stringify(nested({ ...rig.settings, 'log.level': 'warn' })));
  const main = join(folder, 'device-bridge/main.mjs');
  const args = ['--disable-warning=ExperimentalWarning', ...process.execArgv, main];
  const child = spawn(process.execPath, [...args, '--config', configFile], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  lifetime.after(() => stop(child));
  await rig.relay.offering('reads.get', 'acts.get');
  return { name: folder, rig, process: processFigures(child.pid ?? 0) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

function nested(flat: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const whole: Record<string, Record<string, unknown>> = {};
  for (const [path, value] of Object.entries(flat)) {
    const [group = '', name] = path.split('.');
    if (name === undefined) Object.assign(whole, { [group]: value });
    else whole[group] = { ...whole[group], [name]: value };
  }
  return whole;
}

async function call({ rig: { relay, host } }: Bridge, server: string): Promise<Sample> {
  const [send, hear] = [relay.send, relay.onFrame];
  let [sentUs, answeredUs] = [0, 0];
  relay.send = (frame) => {
    if (frame.kind === FrameKind.CALL) sentUs = nowUs();
    send.call(relay, frame);
  };
  relay.onFrame = (frame) => {
    if (frame.kind === FrameKind.OUTCOME) answeredUs = nowUs();
    hear(frame);
  };
  const { status, json } = await host.call({ server, tool: 'get', args: ARGUMENTS });
  Object.assign(relay, { send, onFrame: hear });
  if (status !== 'done') throw new Error(`the call ended as ${status}`);
  const serverUs = Number(json.structuredContent?.atUs);
  return { toServerUs: serverUs - sentUs, backUs: answeredUs - serverUs };
}

/** Calls a second and the bridge's CPU for one. */
async function flight({ rig: { host }, process: bridge }: Bridge) {
  let left = CALLS_IN_FLIGHT;
  const [cpuUs, startMs] = [bridge.cpuUs(), performance.now()];
  const caller = async () => {
    while (left-- > 0) await host.call({ server: 'reads', tool: 'get', args: ARGUMENTS });
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  const seconds = (performance.now() - startMs) / 1000;
  return {
    perSecond: CALLS_IN_FLIGHT / seconds,
    cpuUs: (bridge.cpuUs() - cpuUs) / CALLS_IN_FLIGHT,
  };
}

/** A line to the same server and the one it answers with. */
function startPipe(): () => Promise<Sample> {
  const child = spawn(process.execPath, [SERVER], { stdio: ['pipe', 'pipe', 'inherit'] });
  lifetime.after(() => child.kill());
  const next = lineOf(child.stdout);
  const params = { name: 'get', arguments: ARGUMENTS };
  return async () => {
    const sentUs = nowUs();
    child.stdin.write(
      `${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })}\n`,
    );
    const line = await next();
    const atUs = nowUs();
    const serverUs = Number(JSON.parse(line).result.structuredContent.atUs);
    return { toServerUs: serverUs - sentUs, backUs: atUs - serverUs };
  };
}

function lineOf(stdout: Readable): () => Promise<string> {
  return () => new Promise((resolve) => stdout.once('data', (chunk) => resolve(String(chunk))));
}

/** Half of the way to a bare WebSocket over TLS and back. */
async function startSocket({ rig: { relay, config } }: Bridge): Promise<() => Promise<number>> {
  const ca = readFileSync(config.relay.caFile);
  const socket = new WebSocket(relay.url, { ca, perMessageDeflate: false });
  lifetime.after(() => socket.terminate());
  await once(socket, 'open');
  return async () => {
    const sentUs = nowUs();
    socket.ping(Buffer.alloc(100));
    await once(socket, 'pong');
    return (nowUs() - sentUs) / 2;
  };
}

const WAYS = ['reads', 'acts'] as const;
type Way = (typeof WAYS)[number];
const WAY_NAMES = { reads: 'without effects', acts: 'with effects' } as const;

interface Samples {
  readonly bridges: ReadonlyMap<Bridge, Readonly<Record<Way, Sample[]>>>;
  readonly pipe: Sample[];
  readonly socketUs: number[];
}

/** In turns, so that the noise of the machine hits all of them. */
async function measure(bridges: readonly Bridge[], first: Bridge): Promise<Samples> {
  const askPipe = startPipe();
  const askSocket = await startSocket(first);
  const samples: Samples = {
    bridges: new Map(bridges.map((bridge) => [bridge, { reads: [], acts: [] }])),
    pipe: [],
    socketUs: [],
  };
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
    for (let n = 0; n < CALLS_PER_ROUND; n += 1) {
      const [piped, socketUs] = [await askPipe(), await askSocket()];
      if (round < 0) continue;
      samples.pipe.push(piped);
      samples.socketUs.push(socketUs);
    }
    for (const [bridge, kept] of samples.bridges) {
      for (const way of WAYS) {
        for (let n = 0; n < CALLS_PER_ROUND; n += 1) {
          const sample = await call(bridge, way);
          if (round >= 0) kept[way].push(sample);
        }
      }
    }
  }
  return samples;
}

function figuresOf({ bridges, pipe, socketUs }: Samples): Figure[] {
  const figures: Figure[] = [];
  for (const [{ name }, kept] of bridges) {
    for (const way of WAYS) {
      for (const [part, what] of [
        ['toServerUs', "socket to the server's stdin"],
        ['backUs', "server's answer to the socket"],
      ] as const) {
        for (const share of [0.1, 0.5, 0.99]) {
          const of = (samples: readonly Sample[]) =>
            percentile(
              samples.map((sample) => sample[part]),
              share,
            );
          figures.push({
            metric: `${name}, ${WAY_NAMES[way]}, ${what}, p${share * 100}`,
            value: of(kept[way]),
            unit: 'us',
            baseline: of(pipe) + percentile(socketUs, share),
          });
        }
      }
    }
  }
  return figures;
}

try {
  const folders = process.argv.slice(2);
  const bridges: Bridge[] = [];
  for (const folder of folders.length === 0 ? ['dist'] : folders) {
    bridges.push(await startBridge(folder));
  }
  const [first] = bridges;
  if (first === undefined) throw new Error('no bridge has started');
  const figures = figuresOf(await measure(bridges, first));
  for (const bridge of [...bridges, ...bridges]) {
    const { perSecond, cpuUs } = await flight(bridge);
    console.log(
      `${bridge.name}, ${IN_FLIGHT} in flight: ${perSecond.toFixed(0)} calls a second, ${cpuUs.toFixed(0)} us of CPU each`,
    );
  }
  report({
    name: 'bridge-call',
    method: `${ROUNDS * CALLS_PER_ROUND} calls of each kind, one at a time, through the bridge with policy, journal and receipts, against a bare pipe to the same server and half of the way over a bare WebSocket`,
    figures,
  });
} finally {
  await cleanUp();
}
