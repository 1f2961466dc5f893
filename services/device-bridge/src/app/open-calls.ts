import type { Tracer } from '@opentelemetry/api';
import type { Frame } from '@zerolatency/frame';
import type { Logger } from '@zerolatency/service/telemetry';
import type { SqliteJournal } from '../adapters/sqlite/journal.ts';
import { DeviceCalls } from '../calls/device-calls.ts';
import type { EndedCall, PolicyPort } from '../calls/runner.ts';
import type { BridgeConfig } from '../config.ts';
import type { BridgeMetrics } from '../metrics.ts';
import type { Supervisor } from '../servers/supervisor.ts';
import { clock } from './clock.ts';
import type { OpenedDevice } from './open-device.ts';

interface Parts {
  readonly log: Logger;
  readonly metrics: BridgeMetrics;
  readonly tracer: Tracer;
  readonly journal: SqliteJournal;
  readonly device: OpenedDevice;
  readonly policy: PolicyPort;
  readonly servers: Supervisor;
  readonly send: (frame: Frame) => void;
  readonly onFatal: (error: unknown) => void;
}

const checkpointMs = 500;
/** A checkpoint holds everything up for tens of milliseconds, so it waits for a pause. */
const idleMs = 1_000;

export function openCalls(limits: BridgeConfig['calls'], parts: Parts) {
  const { log, metrics, journal, policy, device } = parts;
  const calls = new DeviceCalls({
    ...parts,
    limits,
    clock,
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
    journal.checkpoint({ isIdle: calls.idleMs > idleMs });
  }, checkpointMs);
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
