import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventually, type FaultProxy, faultProxy, type RedisServer } from '@zerolatency/testing';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import { runningPid } from '../../services/cli/src/installation/processes.ts';
import { addServers, configOf, editConfig, signBundleWith } from '../e2e/effects.ts';
import { type RelayPod, relayPool } from '../e2e/relay-pool.ts';
import { type Lifetime, type System, startSystem } from '../e2e/system.ts';
import { FrameTap, type Hop, type Passing, type Trap } from './frame-tap.ts';

export type Victim = 'host' | 'bridge' | 'relay';

/** A death of a process; calls that it met may end as unknown. */
export interface Kill {
  readonly victim: Victim;
  readonly atMs: number;
}

/** The ways to and from one pod, each through a proxy that fails on demand. */
export interface PodNetwork {
  readonly link: FaultProxy;
  readonly device: FaultProxy;
  readonly rpc: FaultProxy;
  readonly redis: FaultProxy;
}

export interface WorldOptions {
  readonly random: () => number;
  /** The folder of the programs to start instead of the bundles. */
  readonly programs?: string | undefined;
}

const SERVER = 'counter';
const PODS = 2;
/** More than any client waits. */
const MAX_CALL_MS = 120_000;
const SERVICE_OF = { host: 'model-host', bridge: 'device-bridge' } as const;
/** The control socket lies beside the journal. */
const SOCKET = /\.sock$/;

/** Host, relays, bridge and Redis as processes, and every hop between them in the test's hands. */
export class World {
  readonly tool = `${SERVER}.act`;
  readonly kills: Kill[] = [];
  readonly networks: readonly PodNetwork[];
  readonly system: System;
  readonly #pods: readonly RelayPod[];
  readonly #parts: WorldParts;

  static async start(t: Lifetime, options: WorldOptions): Promise<World> {
    const parts = new WorldParts(t, options);
    const system = await startSystem(t, {
      prepare: (layout) => parts.prepare(layout),
      ...(options.programs !== undefined && { programs: options.programs }),
    });
    // At the end nothing is open, but Node's own cleanup of a process that cut so many connections
    // may wait forever. After the listener of startSystem, which stops what still runs.
    process.once('exit', (status) => process.exit(status));
    return new World(system, parts);
  }

  private constructor(system: System, parts: WorldParts) {
    this.system = system;
    this.#parts = parts;
    this.#pods = parts.pods;
    this.networks = parts.networks;
  }

  get counted(): string {
    return this.#parts.counted;
  }

  get redis(): RedisServer {
    return this.#parts.redis;
  }

  set redis(server: RedisServer) {
    this.#parts.redis = server;
  }

  get pods(): number {
    return this.#pods.length;
  }

  /** Sees every frame on every hop while it is set. */
  set trap(trap: Trap | undefined) {
    this.#parts.trap = trap;
  }

  /** Sends messages to every bridge, as if from the relay; returns how many connections took them. */
  replay(messages: Iterable<Uint8Array>): number {
    let taken = 0;
    for (const message of messages) {
      for (const tap of this.#parts.taps.device) taken += tap.replay(message);
    }
    return taken;
  }

  /** Lets the tool go on that waits with this key. */
  release(key: string): void {
    writeFileSync(join(this.#parts.goOn, key), '');
  }

  /** `pod` matters for a relay only. */
  async pidOf(victim: Victim, pod = 0): Promise<number> {
    if (victim === 'relay') return this.#pod(pod).pid();
    const pid = await runningPid(this.system.layout, SERVICE_OF[victim]);
    if (pid === undefined) throw new Error(`${victim} is not running`);
    return pid;
  }

  /** SIGKILL at once, for a caller that has the pid already; restart() waits for the end. */
  killNow(victim: Victim, pid: number): void {
    this.kills.push({ victim, atMs: Date.now() });
    process.kill(pid, 'SIGKILL');
  }

  /** Resolves once the process has ended. */
  async killed(pid: number): Promise<void> {
    await eventually(() => isGone(pid), { timeoutMs: 10_000 });
  }

  /** After the process has ended. */
  async restart(victim: Victim, pid: number, pod = 0): Promise<void> {
    await this.killed(pid);
    if (victim === 'relay') await this.#pod(pod).start();
    else await this.system.start(SERVICE_OF[victim]);
  }

  /** Stops the bridge in good order, keeps its journal as it then is, and starts it again. */
  async keepJournal(): Promise<void> {
    await this.system.stop('device-bridge');
    copyFiles(this.system.layout.device.state, this.#kept);
    await this.system.start('device-bridge');
    await this.healthy();
  }

  /** Puts the journal back while the bridge is down: its disk has lost what it had acknowledged. */
  loseJournal(): void {
    copyFiles(this.#kept, this.system.layout.device.state);
  }

  /** The time at which the host serves again. */
  async hostReady(): Promise<number> {
    const { adminUrl } = this.system.settings.host;
    await eventually(async () => (await fetch(`${adminUrl}/readyz`)).status === 200, {
      timeoutMs: 60_000,
      everyMs: 20,
    });
    return Date.now();
  }

  /** Everything serves, the device through a pod. */
  async healthy(): Promise<void> {
    await Promise.all(this.#pods.map((pod) => pod.ready()));
    await this.system.healthy();
  }

  #pod(index: number): RelayPod {
    const pod = this.#pods[index];
    if (pod === undefined) throw new Error(`no pod ${index}`);
    return pod;
  }

  get #kept(): string {
    return join(this.system.layout.home, 'kept-state');
  }
}

/** What is made before the system starts. */
class WorldParts {
  trap: Trap | undefined;
  counted = '';
  goOn = '';
  pods: readonly RelayPod[] = [];
  redis!: RedisServer;
  readonly networks: PodNetwork[] = [];
  readonly taps: Readonly<Record<Hop, FrameTap[]>> = { link: [], device: [] };
  readonly #t: Lifetime;
  readonly #random: () => number;

  constructor(t: Lifetime, { random }: WorldOptions) {
    this.#t = t;
    this.#random = random;
  }

  async prepare(layout: Layout): Promise<void> {
    this.counted = join(layout.home, 'counted.txt');
    this.goOn = join(layout.home, 'go-on');
    writeFileSync(this.counted, '');
    mkdirSync(this.goOn);
    const project = join(import.meta.dirname, '../..');
    const read = ['node_modules', 'packages', 'test/chaos'].map((path) => join(project, path));
    await addServers(layout, [
      {
        name: SERVER,
        args: [join(import.meta.dirname, 'counting-server.ts'), this.counted, this.goOn],
        grants: { read: [...read, this.goOn], write: [this.counted] },
        effects: { act: 'external' },
      },
    ]);
    await this.#allowLongCalls(layout);
    const { pods, redis } = await relayPool(this.#t, layout, PODS);
    this.pods = pods;
    this.redis = redis;
    for (const pod of pods) await this.#surround(layout, pod);
    const [host, bridge] = [
      await configOf(layout.host.config),
      await configOf(layout.device.config),
    ];
    const urls = (scheme: string, hop: 'rpc' | 'device', path = '') =>
      this.networks.map((network) => `${scheme}://localhost:${network[hop].port}${path}`);
    await editConfig(layout.host.config, {
      relay: { ...host.relay, urls: urls('https', 'rpc') },
    });
    await editConfig(layout.device.config, {
      relay: { ...bridge.relay, urls: urls('wss', 'device', '/v1/device') },
    });
    for (const pod of pods.slice(1)) await pod.start();
    this.#t.after(() => Promise.all(pods.map((pod) => pod.stop())));
  }

  /** So that a late CALL is refused for its epoch and not for its deadline. */
  async #allowLongCalls(layout: Layout): Promise<void> {
    const { tools } = await configOf(layout.host.config);
    await editConfig(layout.host.config, { tools: { ...tools, timeout: `${MAX_CALL_MS}ms` } });
    await signBundleWith(layout, layout.policy.bundle, (bundle) => ({
      ...bundle,
      version: bundle.version + 1,
      rules: bundle.rules.map((rule) =>
        rule.effect === 'allow'
          ? { ...rule, caps: { ...rule.caps, timeoutMs: MAX_CALL_MS } }
          : rule,
      ),
    }));
  }

  /** Puts a tap on both hops of a pod, and a proxy on each way to and from it. */
  async #surround(layout: Layout, pod: RelayPod): Promise<void> {
    const config = await configOf(pod.file);
    const index = this.networks.length;
    const trap = (passing: Passing) => this.trap?.(passing);
    const tap = async (hop: Hop) => {
      const target = config.sockets.port;
      const made = await FrameTap.listen(layout, { hop, pod: index, target, trap });
      this.#t.after(() => made.close());
      this.taps[hop].push(made);
      return await this.#proxy(made.port);
    };
    const network = {
      link: await tap('link'),
      device: await tap('device'),
      rpc: await this.#proxy(config.rpc.port),
      redis: await this.#proxy(this.redis.port),
    };
    this.networks.push(network);
    const { directory, sockets } = config;
    const nodes = [`127.0.0.1:${network.redis.port}`];
    await editConfig(pod.file, {
      sockets: {
        ...sockets,
        advertisedUrl: `wss://localhost:${network.link.port}`,
        heartbeat: '2s',
      },
      lease: { ttl: '6s' },
      directory: { ...directory, redis: { ...directory.redis, nodes, commandTimeout: '2s' } },
    });
  }

  async #proxy(port: number): Promise<FaultProxy> {
    const proxy = await faultProxy({ target: { port }, random: this.#random });
    this.#t.after(() => proxy.close());
    return proxy;
  }
}

function copyFiles(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  const names = readdirSync(from);
  for (const name of readdirSync(to)) {
    if (!SOCKET.test(name) && !names.includes(name)) rmSync(join(to, name), { recursive: true });
  }
  for (const name of names) {
    if (!SOCKET.test(name)) cpSync(join(from, name), join(to, name), { recursive: true });
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

/** A folder of programs that start from sources without the fences of the epoch. */
export function unfencedPrograms(dir: string): string {
  const project = pathToFileURL(join(import.meta.dirname, '../..')).href;
  for (const program of ['model-host', 'device-bridge', 'tool-relay']) {
    mkdirSync(join(dir, program));
    const modules = ['test/chaos/unfenced.ts', `services/${program}/src/main.ts`];
    const lines = modules.map((module) => `await import('${project}/${module}');\n`);
    writeFileSync(join(dir, program, 'main.mjs'), lines.join(''));
  }
  return dir;
}
