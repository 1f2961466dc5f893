import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type { Terminal } from '../terminal.ts';
import { type Layout, projectRoot } from './layout.ts';
import { writePrivate } from './private-file.ts';

export const services = ['tool-relay', 'model-host', 'device-bridge'] as const;
export type Service = (typeof services)[number];

const configOf: Record<Service, (layout: Layout) => string> = {
  'tool-relay': (layout) => layout.relay.config,
  'model-host': (layout) => layout.host.config,
  'device-bridge': (layout) => layout.device.config,
};

function sourceOf(service: Service): string {
  return join(projectRoot, 'services', service, 'src', 'main.ts');
}

interface PidFile {
  readonly pid: number;
  /** Tells the process from a later one that was given the same number. */
  readonly startedAt: string;
}

const killTimeoutMs = 5_000;

/** The process id of a service this installation started and that still runs. */
export async function runningPid(
  terminal: Terminal,
  layout: Layout,
  service: Service,
): Promise<number | undefined> {
  const file = await readPidFile(layout.pid(service));
  if (file === undefined) return undefined;
  const { pid, startedAt } = file;
  return (await isRunning(terminal, pid)) && (await startTime(pid)) === startedAt ? pid : undefined;
}

/** Undefined also for a file that is none of ours: nobody must be signalled because of it. */
async function readPidFile(path: string): Promise<PidFile | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isPidFile(value) ? value : undefined;
  } catch {
    // Not there, or cut short by a crash: either way nothing is known to run.
    return undefined;
  }
}

function isPidFile(value: unknown): value is PidFile {
  if (typeof value !== 'object' || value === null) return false;
  if (!('pid' in value && 'startedAt' in value)) return false;
  const { pid, startedAt } = value;
  // 0 and negative numbers would signal whole groups.
  return Number.isSafeInteger(pid) && Number(pid) > 1 && typeof startedAt === 'string';
}

/** What a service said last, for a person who wonders why it stopped. */
export async function lastLogLine(layout: Layout, service: Service): Promise<string> {
  const log = await readFile(layout.log(service), 'utf8').catch(() => '');
  return log.trimEnd().split('\n').at(-1) ?? '';
}

/** Starts it in the background, in a process group of its own, with its output in a log file. */
export async function startService(
  terminal: Terminal,
  layout: Layout,
  { service, main = sourceOf(service) }: { readonly service: Service; readonly main?: string },
): Promise<void> {
  const logFile = layout.log(service);
  await mkdir(dirname(logFile), { recursive: true, mode: 0o700 });
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(
    terminal.nodePath,
    ['--disable-warning=ExperimentalWarning', main, '--config', configOf[service](layout)],
    { cwd: layout.home, detached: true, stdio: ['ignore', log, log] },
  );
  closeSync(log);
  const { pid } = child;
  if (pid === undefined) throw new ZlError('internal', `${service} could not be started`);
  child.unref();
  const record: PidFile = { pid, startedAt: await startTime(pid) };
  await writePrivate(layout.pid(service), JSON.stringify(record));
}

/** Lets it finish what it runs, and ends it when it does not within the deadline. */
export async function stopService(
  terminal: Terminal,
  layout: Layout,
  stop: { readonly service: Service; readonly deadlineMs: number },
): Promise<'stopped' | 'killed' | 'not running'> {
  const pid = await runningPid(terminal, layout, stop.service);
  if (pid === undefined) return 'not running';
  signal(terminal, pid, 'SIGTERM');
  const killed = !(await isGone(terminal, pid, stop.deadlineMs));
  if (killed) signal(terminal, pid, 'SIGKILL');
  // Nobody can ignore that; it only takes the kernel a moment.
  await isGone(terminal, pid, killTimeoutMs);
  await rm(layout.pid(stop.service), { force: true });
  return killed ? 'killed' : 'stopped';
}

async function isGone(terminal: Terminal, pid: number, withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  while ((await isRunning(terminal, pid)) && Date.now() < until) await delay(20);
  return !(await isRunning(terminal, pid));
}

async function isRunning(terminal: Terminal, pid: number): Promise<boolean> {
  const [state] = await procStat(pid);
  // It has ended, and who adopted it has not asked how: in a container nobody may ever do.
  if (state === 'Z') return false;
  return signal(terminal, pid, 0);
}

/** False when there is no such process any more. */
function signal(terminal: Terminal, pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    terminal.signalProcess(pid, name);
    return true;
  } catch {
    // ESRCH: it may end at any moment, also between a look and a signal.
    return false;
  }
}

/** In ticks since boot; elsewhere than on Linux the number of the process alone must do. */
async function startTime(pid: number): Promise<string> {
  return (await procStat(pid))[19] ?? '';
}

/** The fields of proc_pid_stat(5) from the third on, which follow a name that may hold anything. */
async function procStat(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
