import { ZlError } from '@zerolatency/errors';
import { parseReceipt, RECEIPT_TYPE, type Receipt } from '@zerolatency/receipts';
import type { Envelope } from '@zerolatency/signing';
import { strictBase64 } from '@zerolatency/signing';
import { leafHash } from './merkle.ts';
import { type LedgerRecord, parseRecord } from './record.ts';
import { listSegments, readLines } from './segments.ts';

export interface LedgerRow {
  readonly record: LedgerRecord;
  readonly leafHash: string;
}

/**
 * The records as they stand, from an index on, also while a host writes them.
 * Checks nothing but that they can be read: verifyLedger does.
 */
export async function* readLedger(
  dir: string,
  { from = 0 }: { readonly from?: number } = {},
): AsyncGenerator<LedgerRow> {
  const segments = await listSegments(dir);
  const start = segments.findLastIndex((segment) => segment.firstIndex <= from);
  for (const segment of segments.slice(Math.max(0, start))) {
    for await (const line of readLines(segment.path)) {
      // A write that is under way, or that a crash cut short.
      if (!line.isWhole) continue;
      const record = parseRecord(line.bytes);
      if (record === undefined) {
        throw new ZlError('ledger.corrupt', `${segment.name} line ${line.number} cannot be read`);
      }
      if (record.index < from) continue;
      yield { record, leafHash: Buffer.from(leafHash(line.bytes)).toString('hex') };
    }
  }
}

/** What an envelope claims, for display. verifyReceipt says whether to believe it. */
export function peekReceipt(envelope: Envelope): Receipt | undefined {
  if (envelope.payloadType !== RECEIPT_TYPE) return undefined;
  const payload = strictBase64(envelope.payload);
  return payload && parseReceipt(payload).value;
}
