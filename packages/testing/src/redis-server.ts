import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';

/** Debian's redis-tools has the server under another name, and no service beside it. */
const PROGRAMS = ['redis-server', 'redis-check-rdb'];
const NAME = 'redis-server';
const program = PROGRAMS.find((name) => spawnSync(name, ['--version']).error === undefined);

/** Ports are free when they are chosen; another program may be faster. */
const MAX_STARTS = 5;
const CLUSTER_SLOTS = 16_384;

export interface RedisOptions {
  /** An existing folder of its own. */
  readonly dir: string;
  readonly port?: number;
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile: string };
  /** Directives of redis.conf. */
  readonly config?: readonly string[];
}

export interface RedisServer {
  readonly port: number;
  readonly pid: number;
  /** What it wrote so far. */
  output(): string;
  /** SIGKILL, without writing anything. */
  stop(): Promise<void>;
}

export function needsRedis(): { readonly skip: string | false } {
  return { skip: program === undefined ? 'redis-server is not installed' : false };
}

/** A Redis on a free loopback port, which keeps nothing on disk. */
export async function startRedis(options: RedisOptions): Promise<RedisServer> {
  const { port, config = [] } = options;
  for (let started = 1; ; started++) {
    const chosen = port ?? (await freePort());
    const listens =
      options.tls === undefined
        ? [`port ${chosen}`]
        : [
            'port 0',
            `tls-port ${chosen}`,
            `tls-cert-file ${options.tls.certFile}`,
            `tls-key-file ${options.tls.keyFile}`,
            `tls-ca-cert-file ${options.tls.caFile}`,
            'tls-auth-clients no',
          ];
    const directives = [...listens, 'save ""', 'appendonly no', ...config];
    const server = await run({ ...options, directives, port: chosen, args: [] });
    if (typeof server !== 'string') return server;
    if (port !== undefined || started === MAX_STARTS) throw new Error(`no Redis: ${server}`);
  }
}

/** A Sentinel that knows the server under the name `main`. */
export async function startSentinel(
  options: RedisOptions & { readonly of: RedisServer; readonly quorum: number },
): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const directives = [
    `port ${port}`,
    `sentinel monitor main 127.0.0.1 ${options.of.port} ${options.quorum}`,
    'sentinel down-after-milliseconds main 500',
    'sentinel failover-timeout main 5000',
    ...(options.config ?? []),
  ];
  const server = await run({ ...options, directives, port, args: ['--sentinel'] });
  if (typeof server === 'string') throw new Error(`no Sentinel: ${server}`);
  return server;
}

/** Three nodes with a third of the slots each. */
export async function startRedisCluster(dirs: readonly string[]): Promise<readonly RedisServer[]> {
  const nodes: { id: string; port: number; bus: number; slots: string }[] = [];
  for (const index of dirs.keys()) {
    const from = Math.floor((CLUSTER_SLOTS * index) / dirs.length);
    const to = Math.floor((CLUSTER_SLOTS * (index + 1)) / dirs.length) - 1;
    const id = String(index + 1).repeat(40);
    nodes.push({ id, port: await freePort(), bus: await freePort(), slots: `${from}-${to}` });
  }
  return await Promise.all(
    dirs.map((dir, own) => {
      const known = nodes.map(({ id, port, bus, slots }, index) => {
        const flags = index === own ? 'myself,master' : 'master';
        return `${id} 127.0.0.1:${port}@${bus} ${flags} - 0 0 ${index + 1} connected ${slots}`;
      });
      const vars = `vars currentEpoch ${nodes.length} lastVoteEpoch 0`;
      writeFileSync(join(dir, 'nodes.conf'), `${[...known, vars].join('\n')}\n`);
      const { port, bus } = nodes[own] ?? { port: 0, bus: 0 };
      const config = ['cluster-enabled yes', `cluster-port ${bus}`, 'cluster-node-timeout 1000'];
      return startRedis({ dir, port, config });
    }),
  );
}

interface Run {
  readonly dir: string;
  readonly port: number;
  readonly directives: readonly string[];
  readonly args: readonly string[];
}

/** Returns what it said when it did not start. */
async function run({ dir, port, directives, args }: Run): Promise<RedisServer | string> {
  if (program === undefined) throw new Error('redis-server is not installed');
  const file = join(dir, 'redis.conf');
  writeFileSync(file, [...directives, 'bind 127.0.0.1', `dir ${dir}`, ''].join('\n'));
  const child = spawn(program, [file, ...args], {
    argv0: NAME,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  let output = '';
  const isReady = Promise.withResolvers<true>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (/Ready to accept connections|\+monitor master/.test(output)) isReady.resolve(true);
    });
  }
  const ready = await Promise.race([isReady.promise, exited]);
  if (ready !== true) return output;
  return { port, pid: child.pid ?? 0, output: () => output, stop: () => stop(child, exited) };
}

async function stop(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.kill('SIGKILL');
  await exited;
}
