import type { Tracer } from '@opentelemetry/api';
import type { Frame } from '@zerolatency/frame';
import type { Logger } from '@zerolatency/service/telemetry';
import type { SqliteJournal } from '../adapters/sqlite/journal.ts';
import { type CallsClock, DeviceCalls } from '../calls/device-calls.ts';
import type { EndedCall, PolicyPort } from '../calls/runner.ts';
import type { BridgeConfig } from '../config.ts';
import type { BridgeMetrics } from '../metrics.ts';
import type { Supervisor } from '../servers/supervisor.ts';
import type { OpenedDevice } from './open-device.ts';

interface Parts {
  readonly log: Logger;
  readonly clock: CallsClock;
  readonly metrics: BridgeMetrics;
  readonly tracer: Tracer;
  readonly journal: SqliteJournal;
  readonly device: OpenedDevice;
  readonly policy: PolicyPort;
  readonly servers: Supervisor;
  readonly send: (frame: Frame) => void;
  readonly onFatal: (error: unknown) => void;
}

const CHECKPOINT_MS = 500;
/** A checkpoint blocks the bridge for tens of milliseconds, so it waits for a pause. */
const IDLE_MS = 1_000;

export function openCalls(limits: BridgeConfig['calls'], parts: Parts) {
  const { log, clock, metrics, journal, policy, device } = parts;
  const calls = new DeviceCalls({
    ...parts,
    limits,
    nowMs: clock.nowMs,
    signer: device.signer,
    policy: {
      decide(request) {
        const decision = policy.decide(request);
        metrics.decided(decision.effect);
        return decision;
      },
    },
    onEnded: (ended) => {
      metrics.callEnded(ended);
      logEnded(log, ended);
    },
    onRefused: (frame) => metrics.callRefused(frame),
  });
  metrics.callsRunning(() => calls.running);
  calls.recover();
  const checkpoints = setInterval(() => {
    journal.checkpoint({ isIdle: calls.idleMs > IDLE_MS });
  }, CHECKPOINT_MS);
  checkpoints.unref();
  const close = () => {
    clearInterval(checkpoints);
    calls.close();
  };
  return { calls, close };
}

function logEnded(log: Logger, { callId, tool, ending, seconds }: EndedCall): void {
  const { status: outcome, errorId, errorMessage } = ending;
  const fields = { callId, tool, outcome, seconds };
  if (outcome === 'done') log.debug(fields, 'call ended');
  else log.info({ ...fields, errorId, why: errorMessage }, 'call ended');
}
