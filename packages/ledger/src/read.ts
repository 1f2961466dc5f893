import { ZlError } from '@zerolatency/errors';
import { parseReceipt, RECEIPT_TYPE, type Receipt } from '@zerolatency/receipts';
import { type Envelope, strictBase64 } from '@zerolatency/signing';
import { sourceOf } from './file-store.ts';
import { type LedgerRecord, parseRecord } from './record.ts';
import type { LedgerSource } from './store.ts';

import { leafHash } from './tree.ts';

export interface LedgerRow {
  readonly record: LedgerRecord;
  readonly leafHash: string;
}

/** The index of the first record of each segment, in order. */
export async function segmentStarts(ledger: string | LedgerSource): Promise<number[]> {
  return (await sourceOf(ledger).segments()).map(({ firstIndex }) => firstIndex);
}

/**
 * The records from an index on, also while a host writes them. Checks only
 * that each follows its contract; verifyLedger checks that they belong together.
 */
export async function* readLedger(
  ledger: string | LedgerSource,
  { from = 0 }: { readonly from?: number } = {},
): AsyncGenerator<LedgerRow> {
  const source = sourceOf(ledger);
  const segments = await source.segments();
  const start = segments.findLastIndex((segment) => segment.firstIndex <= from);
  for (const segment of segments.slice(Math.max(0, start))) {
    for await (const line of source.lines(segment)) {
      // A write under way, or cut short by a crash.
      if (!line.isWhole) continue;
      const { value: record, error } = parseRecord(line.bytes);
      if (record === undefined) {
        const place = `${segment.name} line ${line.number}`;
        throw new ZlError('ledger.corrupt', `${place} ${error.reason}`);
      }
      if (record.index < from) continue;
      yield { record, leafHash: Buffer.from(leafHash(line.bytes)).toString('hex') };
    }
  }
}

/** What an envelope claims, for display; verifyReceipt decides whether to believe it. */
export function peekReceipt(envelope: Envelope): Receipt | undefined {
  if (envelope.payloadType !== RECEIPT_TYPE) return undefined;
  const payload = strictBase64(envelope.payload);
  return payload && parseReceipt(payload).value;
}
