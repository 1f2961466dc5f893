import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { isProcessMark, isRunning, markOf, type ProcessMark } from '@zerolatency/service/processes';
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

const killTimeoutMs = 5_000;

/** The process id of a service this installation started and that still runs. */
export async function runningPid(layout: Layout, service: Service): Promise<number | undefined> {
  return (await runningProcess(layout, service))?.pid;
}

/** Undefined also for a file that is none of ours: nobody must be signalled because of it. */
async function runningProcess(layout: Layout, service: Service): Promise<ProcessMark | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(layout.pid(service), 'utf8'));
    return isProcessMark(value) && isRunning(value) ? value : undefined;
  } catch {
    // Not there, or cut short by a crash: either way nothing is known to run.
    return undefined;
  }
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
  await once(child, 'spawn').catch((cause: Error) => {
    throw new ZlError('internal', `${service} cannot be started: ${cause.message}`, { cause });
  });
  child.unref();
  // One that has ended already is not running, and needs no file to say so.
  const mark = child.pid === undefined ? undefined : markOf(child.pid);
  if (mark !== undefined) await writePrivate(layout.pid(service), JSON.stringify(mark));
}

/** Lets it finish what it runs, and ends it when it does not within the deadline. */
export async function stopService(
  terminal: Terminal,
  layout: Layout,
  stop: { readonly service: Service; readonly deadlineMs: number },
): Promise<'stopped' | 'killed' | 'not running'> {
  const { service, deadlineMs } = stop;
  const process = await runningProcess(layout, service);
  if (process === undefined) return 'not running';
  signal(terminal, process, 'SIGTERM');
  const killed = !(await isGone(process, deadlineMs));
  if (killed) signal(terminal, process, 'SIGKILL');
  // Nobody can ignore that; it only takes the kernel a moment.
  await isGone(process, killTimeoutMs);
  await rm(layout.pid(service), { force: true });
  return killed ? 'killed' : 'stopped';
}

async function isGone(process: ProcessMark, withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  while (isRunning(process) && Date.now() < until) await delay(20);
  return !isRunning(process);
}

function signal(terminal: Terminal, { pid }: ProcessMark, name: NodeJS.Signals): void {
  try {
    terminal.signalProcess(pid, name);
  } catch {
    // ESRCH: it may end at any moment, also between a look and a signal.
  }
}
