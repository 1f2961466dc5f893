import { fromUnknown, ZlError } from '@zerolatency/errors';
import { type Receipt, receiptsDiffer, signReceipt } from '@zerolatency/receipts';
import type { Signer } from '@zerolatency/signing';
import { type Ending, endedAs } from './ending.ts';
import type { CallFacts, CallLedger } from './ports.ts';

export interface RecordedEnding {
  readonly ending: Ending;
  /** Empty when the ledger took none. */
  readonly receiptJson: string;
}

export interface RecordCallOptions {
  readonly facts: CallFacts;
  readonly ending: Ending;
  readonly elapsedUs: number;
  readonly signer: Signer;
  readonly ledger: CallLedger;
}

/** Signs what this host says of the call and puts it on disk. What is not there is not told as done. */
export async function recordCall(options: RecordCallOptions): Promise<RecordedEnding> {
  const { facts, signer, ledger } = options;
  const { ending, receipt } = agree(options);
  try {
    const envelope = await signReceipt(receipt, signer);
    await ledger.conclude(facts, envelope);
    return { ending, receiptJson: JSON.stringify(envelope) };
  } catch (reason) {
    const { message } = fromUnknown(reason);
    const error = new ZlError(
      'ledger.failed',
      `the call ended as ${ending.outcome}, which cannot be recorded: ${message}`,
      { cause: reason },
    );
    const outcome = ending.outcome === 'done' ? 'failed' : ending.outcome;
    return { ending: { ...ending, ...endedAs(outcome, error) }, receiptJson: '' };
  }
}

/** A device whose receipt is about something else than the outcome it sent has told nothing. */
function agree({ facts, ending, elapsedUs }: RecordCallOptions): {
  ending: Ending;
  receipt: Receipt;
} {
  const receipt = receiptOf(facts, ending, elapsedUs);
  if (ending.device === undefined) return { ending, receipt };
  const difference = receiptsDiffer(receipt, ending.device.receipt);
  if (difference === undefined) return { ending, receipt };
  const { device: _, ...rest } = ending;
  const error = new ZlError('receipt.invalid', difference);
  const doubtful = { ...rest, ...endedAs('unknown', error), resultDigest: undefined };
  return { ending: doubtful, receipt: receiptOf(facts, doubtful, elapsedUs) };
}

function receiptOf(
  { argumentSalt: _, ...facts }: CallFacts,
  ending: Ending,
  elapsedUs: number,
): Receipt {
  const { outcome, resultDigest, error, device } = ending;
  return {
    ...facts,
    role: 'host',
    outcome,
    elapsedUs,
    resultDigest,
    errorId: error?.id,
    device: device?.envelope,
  };
}
