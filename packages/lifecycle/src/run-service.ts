import { Lifecycle } from './lifecycle.ts';

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
 * Runs a service until it is asked to stop or fails. Gives the exit code: 0
 * after a clean stop, also a forced one; 1 when it failed or a hook did.
 */
export async function runService({
  start,
  signals,
  deadlineMs,
  log,
  lifecycle = new Lifecycle({
    onHookError: (hook, err) => log.error({ err, hook }, 'drain hook failed'),
  }),
}: RunServiceOptions): Promise<number> {
  const fail = (reason: string) => (error: unknown) => {
    log.error({ err: error }, reason);
    void lifecycle.shutdown({ reason, deadlineMs, error: error ?? new Error(reason) });
  };
  const unbind = bind(signals, {
    SIGTERM: onSignal('SIGTERM'),
    SIGINT: onSignal('SIGINT'),
    uncaughtException: fail('uncaught exception'),
    unhandledRejection: fail('unhandled rejection'),
  });
  function onSignal(signal: string) {
    return () => {
      if (lifecycle.state === 'draining') lifecycle.force(`${signal} came again`);
      log.info({ signal }, 'asked to stop');
      void lifecycle.shutdown({ reason: signal, deadlineMs });
    };
  }
  try {
    start(lifecycle).then(() => lifecycle.markReady(), fail('start failed'));
    await lifecycle.stopped;
  } finally {
    unbind();
  }
  return lifecycle.state === 'stopped' && lifecycle.failures.length === 0 ? 0 : 1;
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
