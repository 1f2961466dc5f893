import { Caller, type CallIntent } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import type { Signer } from '@zerolatency/signing';
import { type Ending, endedAs } from './ending.ts';
import type { CallFacts, CallLedger, DeviceRoutes } from './ports.ts';
import { readRecoveredEnding } from './read-ending.ts';
import { recordCall } from './record-call.ts';
import { RemoteCall } from './remote-call.ts';

/** A call that an earlier run of this host may have sent, as the ledger has it. */
export interface OpenCall {
  readonly facts: CallFacts;
  /** Undefined where the record does not tell enough to ask the device. */
  readonly intent: CallIntent | undefined;
}

export interface CloseOpenIntentsOptions {
  readonly open: readonly OpenCall[];
  readonly devices: DeviceRoutes;
  readonly ledger: CallLedger;
  readonly signer: Signer;
  /** Devices are asked for this long; what they have not told by then is unknown. */
  readonly waitMs?: number;
  readonly nowMs?: () => number;
}

const DEFAULT_WAIT_MS = 3000;

/**
 * Gives every open intent its receipt, by asking the device or as unknown
 * (rule 8). Nobody waits for the results any more, so what still runs is
 * cancelled. Rejects when the ledger takes no receipt.
 */
export async function closeOpenIntents(
  options: CloseOpenIntentsOptions,
): Promise<Record<Ending['outcome'], number>> {
  const counts = { done: 0, failed: 0, denied: 0, cancelled: 0, unknown: 0 };
  await Promise.all(
    options.open.map(async (call) => {
      counts[await close(call, options)] += 1;
    }),
  );
  return counts;
}

async function close(call: OpenCall, options: CloseOpenIntentsOptions): Promise<Ending['outcome']> {
  const { signer, ledger, nowMs = Date.now } = options;
  const { facts } = call;
  const remote = remoteCall(call, options);
  const ending =
    remote === undefined
      ? endedAs('unknown', new ZlError('call.unknown_outcome', 'the host stopped while it ran'))
      : // Asked and cancelled in one go.
        readRecoveredEnding(await remote.start(AbortSignal.abort()));
  const elapsedUs = Math.max(0, Math.round((nowMs() - Date.parse(facts.startedAt)) * 1000));
  const recorded = await recordCall({ facts, ending, elapsedUs, signer, ledger });
  const isRecorded = recorded.receiptJson !== '';
  remote?.release({ acknowledge: isRecorded });
  if (!isRecorded && recorded.ending.error !== undefined) throw recorded.ending.error;
  return recorded.ending.outcome;
}

function remoteCall({ facts, intent }: OpenCall, options: CloseOpenIntentsOptions) {
  if (intent === undefined || facts.deviceId === undefined) return undefined;
  const { devices, waitMs = DEFAULT_WAIT_MS, nowMs = Date.now } = options;
  const settleByMs = nowMs() + waitMs;
  return new RemoteCall({
    route: devices.route(facts.tenant, facts.deviceId),
    nowMs,
    callId: facts.callId,
    caller: (sink) => Caller.recover({ ...intent, settleByMs }, sink, { cancelGraceMs: waitMs }),
    events: { onRoute() {}, onProgress: undefined },
  });
}
