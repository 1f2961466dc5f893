import { verifyReceipt } from '@zerolatency/receipts';
import type { Verifier } from '@zerolatency/signing';
import type { LedgerRecord } from './record.ts';

/** For verifyLedger: every receipt in the ledger must verify too. */
export function receiptCheck(keys: {
  readonly hostKeys: readonly Verifier[];
  readonly deviceKeys: readonly Verifier[];
}): (record: LedgerRecord) => string | undefined {
  return ({ kind, body }) => {
    if (kind !== 'call.receipt') return undefined;
    const { value, error } = verifyReceipt({ envelope: body.receipt, ...keys });
    if (error !== undefined) return error.message;
    return value.receipt.callId === body.callId ? undefined : 'the receipt is of another call';
  };
}
