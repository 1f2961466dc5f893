import { ZlError } from '@zerolatency/errors';
import type { Outcome } from '@zerolatency/receipts';
import type { Signer } from '@zerolatency/signing';
import type { CallLedger, Execution, Executor, OpenCall } from './ports.ts';
import { recordCall, settledUnknown, settleRecovered } from './settle.ts';

export interface CloseOpenIntentsOptions {
  readonly open: readonly OpenCall[];
  readonly executors: readonly Executor[];
  readonly ledger: CallLedger;
  readonly signer: Signer;
  /** Executors are asked for this long; what they have not stated by then is unknown. */
  readonly waitMs?: number;
}

const DEFAULT_WAIT_MS = 3000;

/**
 * Gives every open intent its receipt, by asking its executor or as unknown
 * (rule 8). Nobody waits for the results any more, so running calls are
 * cancelled. Rejects when the ledger takes no receipt.
 */
export async function closeOpenIntents(
  options: CloseOpenIntentsOptions,
): Promise<Record<Outcome, number>> {
  const counts = { done: 0, failed: 0, denied: 0, cancelled: 0, unknown: 0 };
  await Promise.all(
    options.open.map(async (call) => {
      counts[await close(call, options)] += 1;
    }),
  );
  return counts;
}

async function close(call: OpenCall, options: CloseOpenIntentsOptions): Promise<Outcome> {
  const { signer, ledger } = options;
  const { facts } = call;
  const execution = await recover(call, options);
  const stopped = new ZlError('call.unknown_outcome', 'the host stopped while it ran');
  const settlement = execution === undefined ? settledUnknown(stopped) : settleRecovered(execution);
  const startedMs = Date.parse(facts.startedAt);
  const elapsedUs = () => Math.max(0, Math.round((Date.now() - startedMs) * 1000));
  const { outcome, error, receiptJson } = await recordCall({
    facts,
    settlement,
    elapsedUs,
    signer,
    ledger,
  });
  const isRecorded = receiptJson !== '';
  execution?.release?.({ isRecorded });
  if (!isRecorded && error !== undefined) throw error;
  return outcome;
}

function recover(
  call: OpenCall,
  { executors, waitMs = DEFAULT_WAIT_MS }: CloseOpenIntentsOptions,
): Promise<Execution> | undefined {
  for (const executor of executors) {
    const execution = executor.recover(call, waitMs);
    if (execution !== undefined) return execution;
  }
  return undefined;
}
