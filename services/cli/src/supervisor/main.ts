// Runs a program and restarts it when it fails: node main.ts <program> <argument>...
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '@zerolatency/service/backoff';

const BACKOFF = { minMs: 100, maxMs: 10_000 };
/** A program that ran this long can start, and restarts without the backoff of earlier failures. */
const PROVEN_AFTER_MS = 10_000;

const [program = '', ...args] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopping.abort());

/** Its status, or the signal that ended it. */
async function runOnce(): Promise<{
  readonly status: number | null;
  readonly signal: string | null;
}> {
  const child = spawn(program, args, { stdio: 'inherit' });
  const stop = () => child.kill('SIGTERM');
  stopping.signal.addEventListener('abort', stop);
  const [status, signal] = await once(child, 'exit');
  stopping.signal.removeEventListener('abort', stop);
  return { status, signal };
}

const backoff = new Backoff(BACKOFF);
for (let life = 0; !stopping.signal.aborted; life++) {
  const startedMs = performance.now();
  const { status, signal } = await runOnce();
  const isProven = performance.now() - startedMs > PROVEN_AFTER_MS;
  // One that cannot start has said why, and whoever started it waits for that.
  if (stopping.signal.aborted || status === 0 || (life === 0 && status !== null && !isProven)) {
    process.exitCode = status ?? 1;
    break;
  }
  if (isProven) backoff.reset();
  const restartInMs = backoff.nextMs();
  const time = new Date().toISOString();
  const line = { level: 'warn', time, service: 'supervisor', status, signal, restartInMs };
  process.stderr.write(
    `${JSON.stringify({ ...line, msg: 'the program ended and is restarted' })}\n`,
  );
  // Rejects when stopped, which the loop's condition then sees.
  await sleep(restartInMs, undefined, { signal: stopping.signal }).catch(() => {});
}
