import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { lifetime } from '../lifetime.ts';

/** What a tick of /proc is, in microseconds: 100 a second on every Linux that Node runs on. */
const TICK_US = 10_000;

export interface Program {
  readonly ready: Readonly<Record<string, string>>;
  /** User and system time that the process has used so far. */
  cpuUs(): number;
  /** How long its main thread has run, and how long it waited for a core. */
  scheduledMs(): Scheduled;
  rssBytes(): number;
  /** The most that it has held so far. */
  peakBytes(): number;
  stop(): Promise<void>;
}

export interface Scheduled {
  readonly ranMs: number;
  readonly waitedMs: number;
}

/** Starts a program that prints a JSON line when it is ready, with the flags that ship. */
export async function startProgram(path: string, args: readonly string[]): Promise<Program> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', path, ...args],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const stop = async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  lifetime.after(stop);
  return { ready: await readyLine(path, child), stop, ...processFigures(child.pid ?? 0) };
}

async function readyLine(path: string, { stdout }: ChildProcess): Promise<Record<string, string>> {
  if (stdout === null) throw new Error(`${path} has no output`);
  const lines = createInterface({ input: stdout });
  for await (const line of lines) {
    const parsed = JSON.parse(line);
    if (parsed.event !== 'ready') continue;
    stdout.resume();
    return parsed;
  }
  throw new Error(`${path} ended before it was ready`);
}

/** What /proc says of a process. */
export function processFigures(
  pid: number,
): Pick<Program, 'cpuUs' | 'rssBytes' | 'peakBytes' | 'scheduledMs'> {
  const memory = (name: string) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  };
  return {
    scheduledMs: () => scheduledMs(pid),
    cpuUs: () => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) * TICK_US;
    },
    rssBytes: () => memory('VmRSS'),
    peakBytes: () => memory('VmHWM'),
  };
}

/** The main thread's: the event loop runs on it. */
export function scheduledMs(pid: number): Scheduled {
  const stat = readFileSync(`/proc/${pid}/schedstat`, 'utf8');
  const [ranNs = 0, waitedNs = 0] = stat.split(' ').map(Number);
  return { ranMs: ranNs / 1e6, waitedMs: waitedNs / 1e6 };
}
