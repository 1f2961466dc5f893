import type { RecordKind } from './record.ts';

/** Where a ledger tells what operators watch. */
export interface LedgerObserver {
  /** A record is on disk for good, as far as the ledger syncs. */
  recorded(kind: RecordKind): void;
  /** From append to its acknowledgement; of records that somebody waits for. */
  acknowledged(seconds: number): void;
  /** One fsync of records. */
  synced(seconds: number): void;
}
