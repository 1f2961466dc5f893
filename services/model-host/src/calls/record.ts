import { fromUnknown, ZlError } from '@zerolatency/errors';
import { type Receipt, receiptsDiffer, signReceipt } from '@zerolatency/receipts';
import type { Signer } from '@zerolatency/signing';
import type { CallFacts, CallLedger } from './ports.ts';
import { type Settlement, settledAs } from './settle.ts';

export interface RecordedCall {
  readonly settlement: Settlement;
  /** Empty when the ledger took no receipt. */
  readonly receiptJson: string;
}

export interface RecordCallOptions {
  readonly facts: CallFacts;
  readonly settlement: Settlement;
  readonly elapsedUs: number;
  readonly signer: Signer;
  readonly ledger: CallLedger;
}

/** Signs and stores the receipt of the call. A call without one is never reported as done. */
export async function recordCall(options: RecordCallOptions): Promise<RecordedCall> {
  const { facts, signer, ledger } = options;
  const { settlement, receipt } = agree(options);
  try {
    const envelope = await signReceipt(receipt, signer);
    await ledger.conclude(facts, envelope);
    return { settlement, receiptJson: JSON.stringify(envelope) };
  } catch (reason) {
    const { message } = fromUnknown(reason);
    const error = new ZlError(
      'ledger.failed',
      `the call ended as ${settlement.outcome}, which cannot be recorded: ${message}`,
      { cause: reason },
    );
    const outcome = settlement.outcome === 'done' ? 'failed' : settlement.outcome;
    return { settlement: { ...settlement, ...settledAs(outcome, error) }, receiptJson: '' };
  }
}

/** A device receipt that contradicts the outcome proves nothing. */
function agree({ facts, settlement, elapsedUs }: RecordCallOptions): {
  settlement: Settlement;
  receipt: Receipt;
} {
  const receipt = receiptOf(facts, settlement, elapsedUs);
  if (settlement.device === undefined) return { settlement, receipt };
  const difference = receiptsDiffer(receipt, settlement.device.receipt);
  if (difference === undefined) return { settlement, receipt };
  const { device: _, resultDigest: __, ...rest } = settlement;
  const error = new ZlError('receipt.invalid', difference);
  const doubtful = { ...rest, ...settledAs('unknown', error) };
  return { settlement: doubtful, receipt: receiptOf(facts, doubtful, elapsedUs) };
}

function receiptOf(
  { argumentSalt: _, ...facts }: CallFacts,
  settlement: Settlement,
  elapsedUs: number,
): Receipt {
  const { outcome, resultDigest, error, device } = settlement;
  return {
    ...facts,
    role: 'host',
    outcome,
    elapsedUs,
    resultDigest: outcome === 'done' ? resultDigest : undefined,
    errorId: error?.id,
    device: device?.envelope,
  };
}
