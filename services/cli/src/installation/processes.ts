import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, existsSync, fstatSync, openSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { makeFolder } from '@zerolatency/service/files';
import { isProcessMark, isRunning, markOf, type ProcessMark } from '@zerolatency/service/processes';
import type { Terminal } from '../terminal.ts';
import { type Layout, projectRoot } from './layout.ts';
import { writePrivate } from './private-file.ts';

/** In the order of their start. */
export const SERVICES = ['registrar', 'tool-relay', 'model-host', 'device-bridge'] as const;
export type Service = (typeof SERVICES)[number];
/** A further relay of a pool. */
export type Pod = `tool-relay-${number}`;
export type Component = Service | Pod | 'redis';

/** The relays of a pool beside the first. */
export function podsOf(layout: Layout): readonly Pod[] {
  const pods: Pod[] = [];
  for (let number = 2; existsSync(layout.pod(`tool-relay-${number}`).config); number++) {
    pods.push(`tool-relay-${number}`);
  }
  return pods;
}

/** What runs in this installation, in the order of its start. */
export function componentsOf(layout: Layout): readonly Component[] {
  const pods = podsOf(layout);
  if (pods.length === 0) return SERVICES;
  const [registrar, relay, ...others] = SERVICES;
  return ['redis', registrar, relay, ...pods, ...others];
}

const CONFIG_FILES: Record<Service, (layout: Layout) => string> = {
  registrar: (layout) => layout.registrar.config,
  'tool-relay': (layout) => layout.relay.config,
  'model-host': (layout) => layout.host.config,
  'device-bridge': (layout) => layout.device.config,
};

function isPod(component: Component): component is Pod {
  return component.startsWith('tool-relay-');
}

/** The registrar is a role of the relay's program. */
export function programOf(service: Service | Pod): Exclude<Service, 'registrar'> {
  return service === 'registrar' || isPod(service) ? 'tool-relay' : service;
}

/** Debian's redis-tools has the server under the second name, and no service beside it. */
const REDIS_PROGRAMS = ['redis-server', 'redis-check-rdb'];

function redisCommand({ redis }: Layout): readonly string[] {
  const found = REDIS_PROGRAMS.find((name) => spawnSync(name, ['--version']).error === undefined);
  if (found !== undefined) return [found, redis.config];
  const message = 'a pool of relays needs redis-server: install it from your package manager';
  throw new ZlError('installation.failed', message);
}

function sourceOf(service: Service | Pod): string {
  return join(projectRoot, 'services', programOf(service), 'src', 'main.ts');
}

/** Runs a command of a program to its end, and returns what it wrote. */
export async function runCommand(
  terminal: Terminal,
  service: Service,
  args: readonly string[],
): Promise<{ readonly status: number | null; readonly said: string }> {
  const node = ['--disable-warning=ExperimentalWarning', sourceOf(service)];
  const stdio = ['ignore', 'pipe', 'pipe'] as const;
  const child = spawn(terminal.nodePath, [...node, ...args], { stdio: [...stdio] });
  const [out, err, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  return { status, said: out + err };
}

/** Restarts what it runs. A bridge runs programs of others, and one of them may end it. */
const SUPERVISOR = join(projectRoot, 'services', 'cli', 'src', 'supervisor', 'main.ts');

const KILL_TIMEOUT_MS = 5_000;

/** The process id of a service that this installation started and that still runs. */
export async function runningPid(layout: Layout, service: Component): Promise<number | undefined> {
  return (await markIn(layout.pid(service)))?.pid;
}

/** The running services whose configuration has changed since they started. */
export async function outdatedServices(layout: Layout): Promise<readonly Component[]> {
  const outdated: Component[] = [];
  for (const service of componentsOf(layout)) {
    if (service === 'redis' || (await runningPid(layout, service)) === undefined) continue;
    const [started, changed] = await Promise.all(
      [layout.pid(service), configOf(layout, service)].map((file) => stat(file)),
    );
    if (started !== undefined && changed !== undefined && changed.mtimeMs > started.mtimeMs) {
      outdated.push(service);
    }
  }
  return outdated;
}

/** Undefined also for a file that is not ours, so that no foreign process gets a signal. */
async function markIn(pidFile: string): Promise<ProcessMark | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(pidFile, 'utf8'));
    return isProcessMark(value) && isRunning(value) ? value : undefined;
  } catch {
    // Missing, or cut short by a crash.
    return undefined;
  }
}

/** What its supervisor runs, which stays when the supervisor is killed. */
const supervisedPidFile = (layout: Layout, service: Component) =>
  layout.pid(`${service}-supervised`);

interface StartOptions {
  readonly service: Component;
  readonly main?: string;
  /** Restart it when it fails; then the process of the service is its supervisor. */
  readonly isSupervised?: boolean;
  /** On top of its configuration file. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A process that was started here. */
export interface StartedService {
  readonly service: Component;
  /** What it has written since its start. */
  said(): Promise<string>;
}

/** Starts the service in the background, in its own process group, with a log file. */
export async function startService(
  terminal: Terminal,
  layout: Layout,
  { service, main, isSupervised = false, settings = {} }: StartOptions,
): Promise<StartedService> {
  const logFile = layout.log(service);
  await makeFolder(dirname(logFile));
  const log = openSync(logFile, 'a', 0o600);
  const { size: start } = fstatSync(log);
  const node = [terminal.nodePath, '--disable-warning=ExperimentalWarning'];
  const program =
    service === 'redis'
      ? redisCommand(layout)
      : [
          ...[...node, main ?? sourceOf(service), '--config', configOf(layout, service)],
          ...Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]),
        ];
  const [command = '', ...args] = isSupervised
    ? [...node, SUPERVISOR, supervisedPidFile(layout, service), ...program]
    : program;
  const child = spawn(command, args, {
    cwd: layout.home,
    detached: true,
    stdio: ['ignore', log, log],
    ...(service === 'redis' && { argv0: 'redis-server' }),
  });
  closeSync(log);
  await once(child, 'spawn').catch((cause: Error) => {
    throw new ZlError('installation.failed', `cannot start ${service}: ${cause.message}`, {
      cause,
    });
  });
  child.unref();
  // A process that has already exited needs no file.
  const mark = child.pid === undefined ? undefined : markOf(child.pid);
  try {
    if (mark !== undefined) await writePrivate(layout.pid(service), JSON.stringify(mark));
  } catch (reason) {
    // Without the file nobody would ever stop it.
    child.kill('SIGKILL');
    throw reason;
  }
  return { service, said: () => readFrom(logFile, start) };
}

function configOf(layout: Layout, service: Service | Pod): string {
  return isPod(service) ? layout.pod(service).config : CONFIG_FILES[service](layout);
}

/** A program that fails writes little; more than this is not its first error. */
const MAX_SAID_BYTES = 256 * 1024;

async function readFrom(file: string, start: number): Promise<string> {
  const said = createReadStream(file, { start, end: start + MAX_SAID_BYTES, encoding: 'utf8' });
  return await text(said);
}

/** Stops the service gracefully, and kills it at the deadline; also one that its supervisor left. */
export async function stopService(
  terminal: Terminal,
  layout: Layout,
  stop: { readonly service: Component; readonly deadlineMs: number },
): Promise<'stopped' | 'killed' | 'not running'> {
  const { service, deadlineMs } = stop;
  const files = [layout.pid(service), supervisedPidFile(layout, service)];
  const processes = (await Promise.all(files.map(markIn))).filter((it) => it !== undefined);
  const [first] = processes;
  if (first === undefined) return 'not running';
  signal(terminal, first, 'SIGTERM');
  const killed = !(await areGone(processes, deadlineMs));
  if (killed) for (const process of processes) signal(terminal, process, 'SIGKILL');
  // SIGKILL takes the kernel a moment.
  await areGone(processes, KILL_TIMEOUT_MS);
  await Promise.all(files.map((file) => rm(file, { force: true })));
  return killed ? 'killed' : 'stopped';
}

async function areGone(processes: readonly ProcessMark[], withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  while (processes.some(isRunning) && Date.now() < until) await delay(20);
  return !processes.some(isRunning);
}

function signal(terminal: Terminal, { pid }: ProcessMark, name: NodeJS.Signals): void {
  try {
    terminal.signalProcess(pid, name);
  } catch {
    // ESRCH: the process may exit between the check and the signal.
  }
}
