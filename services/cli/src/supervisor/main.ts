// Runs a program, restarts it when it fails, and keeps its process id in a file, by which it is
// found when this supervisor was killed: node main.ts <pid file> <program> <argument>...
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '@zerolatency/service/backoff';
import { markOf } from '@zerolatency/service/processes';

const BACKOFF = { minMs: 100, maxMs: 10_000 };
/** A program that ran this long restarts without the backoff of earlier failures. */
const PROVEN_AFTER_MS = 10_000;

const [pidFile = '', program = '', ...args] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopping.abort());

/** It was ready once, or crashed, which says nothing about its start. */
let canStart = false;

interface End {
  readonly status: number | null;
  readonly signal: string | null;
  /** Why it could not start, such as no room for another process. */
  readonly error?: string;
}

async function runOnce(): Promise<End> {
  const child = spawn(program, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  child.once('message', () => {
    canStart = true;
  });
  if (child.pid !== undefined) record(child.pid);
  const stop = () => child.kill('SIGTERM');
  stopping.signal.addEventListener('abort', stop);
  const end = await new Promise<End>((resolve) => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
    child.once('error', ({ message }) => resolve({ status: null, signal: null, error: message }));
  });
  stopping.signal.removeEventListener('abort', stop);
  rmSync(pidFile, { force: true });
  return end;
}

function record(pid: number): void {
  try {
    writeFileSync(pidFile, JSON.stringify(markOf(pid)), { mode: 0o600 });
  } catch {
    // A full disk: the program runs all the same.
  }
}

const backoff = new Backoff(BACKOFF);
while (!stopping.signal.aborted) {
  const startedMs = performance.now();
  const end = await runOnce();
  const { status, signal } = end;
  const isProven = performance.now() - startedMs > PROVEN_AFTER_MS;
  if (signal !== null) canStart = true;
  // One that never started has said why, and whoever started it waits for that.
  if (stopping.signal.aborted || status === 0 || !canStart) {
    if (end.error !== undefined) process.stderr.write(`${end.error}\n`);
    process.exitCode = status ?? 1;
    break;
  }
  if (isProven) backoff.reset();
  const restartInMs = backoff.nextMs();
  const time = new Date().toISOString();
  const line = { level: 'warn', time, service: 'supervisor', ...end, restartInMs };
  process.stderr.write(
    `${JSON.stringify({ ...line, msg: 'the program ended and is restarted' })}\n`,
  );
  // Rejects when stopped, which the loop's condition then sees.
  await sleep(restartInMs, undefined, { signal: stopping.signal }).catch(() => {});
}
