import { setTimeout as sleep } from 'node:timers/promises';
import { fromLocal } from '@zerolatency/errors';
import { Lifecycle, START_HOOK } from './lifecycle.ts';

/** A start takes a second; a shutdown does not wait longer for one that waits for a peer. */
const START_PATIENCE_MS = 5_000;

/** The part of a process that runService needs. */
export interface SignalSource {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

export interface ServiceLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface RunServiceOptions {
  /** Resolves when the service can do its work. Registers its hooks on the way. */
  readonly start: (lifecycle: Lifecycle) => Promise<unknown>;
  readonly signals: SignalSource;
  readonly deadlineMs: number;
  readonly log: ServiceLog;
  readonly lifecycle?: Lifecycle;
}

/**
 * Runs a service until it is asked to stop or fails. Returns the exit code: 0
 * after a clean stop, also a forced one; 1 when it failed or a hook did.
 */
export async function runService(options: RunServiceOptions): Promise<number> {
  const { signals, deadlineMs, log } = options;
  const lifecycle =
    options.lifecycle ??
    new Lifecycle({ onHookError: (hook, err) => log.error({ err, hook }, 'drain hook failed') });
  const fail = (reason: string) => (error: unknown) => {
    const { id: errorId, message, help } = fromLocal(error);
    log.error({ err: error, errorId, help }, `${reason}: ${message}`);
    void lifecycle.shutdown({ reason, deadlineMs, error: error ?? new Error(reason) });
  };
  const started = Promise.withResolvers<void>();
  const stop = (signal: string) => () => {
    log.info({ signal }, 'asked to stop');
    if (lifecycle.state === 'starting') {
      lifecycle.onDrain(START_HOOK, (deadline) => settled(started.promise, deadline));
    }
    // A second signal means that someone will not wait for the deadline.
    if (lifecycle.state === 'draining') lifecycle.force(`${signal} came again`);
    else void lifecycle.shutdown({ reason: signal, deadlineMs });
  };
  const unbind = bind(signals, {
    SIGTERM: stop('SIGTERM'),
    SIGINT: stop('SIGINT'),
    uncaughtException: fail('uncaught exception'),
    unhandledRejection: fail('unhandled rejection'),
  });
  // First registered, so last to run: what a start under way still opens is drained as well.
  lifecycle.onDrain('late start', () => started.promise);
  start(lifecycle, options).catch(fail('start failed')).finally(started.resolve);
  await lifecycle.stopped;
  unbind();
  return lifecycle.state === 'stopped' && lifecycle.failures.length === 0 ? 0 : 1;
}

async function start(lifecycle: Lifecycle, options: RunServiceOptions): Promise<void> {
  try {
    await options.start(lifecycle);
  } catch (error) {
    // Asked to stop while it started, it may give up; that is not a failure.
    if (lifecycle.state !== 'draining') throw error;
    options.log.info({ err: error }, 'start given up');
  }
  lifecycle.markReady();
}

async function settled(started: Promise<void>, deadline: AbortSignal): Promise<void> {
  const done = new AbortController();
  const signal = AbortSignal.any([deadline, done.signal]);
  // The sleep rejects when it is no longer needed.
  await Promise.race([started, sleep(START_PATIENCE_MS, undefined, { signal }).catch(() => {})]);
  done.abort();
}

function bind(
  source: SignalSource,
  listeners: Readonly<Record<string, (...args: unknown[]) => void>>,
): () => void {
  for (const [event, listener] of Object.entries(listeners)) source.on(event, listener);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) source.off(event, listener);
  };
}
