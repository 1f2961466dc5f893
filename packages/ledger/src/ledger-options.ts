import type { ZlError } from '@zerolatency/errors';
import type { Signer, Verifier } from '@zerolatency/signing';
import type { OpenSegmentFile } from './commit-queue.ts';
import type { LedgerObserver } from './ledger-observer.ts';

export interface LedgerOptions {
  readonly dir: string;
  /** Signs the checkpoints. */
  readonly signer: Signer;
  /** Names this ledger in its checkpoints, such as zerolatency/host-1. No spaces, no +. */
  readonly origin: string;
  /** Acknowledged means on disk; false is for tests that crash nothing. */
  readonly fsync?: boolean;
  /** Keys that earlier checkpoints may be signed with, beside the signer's. */
  readonly keys?: readonly Verifier[];
  /** Of records, beside the first one that sums up the past. */
  readonly maxSegmentBytes?: number;
  readonly checkpointEveryMs?: number;
  readonly nowMs?: () => number;
  /** Once, with what made the ledger unusable. */
  readonly onFailure?: (error: ZlError) => void;
  readonly openFile?: OpenSegmentFile;
  readonly observer?: LedgerObserver;
}

/** Reading this much back takes a fraction of a second when a host starts. */
export const MAX_SEGMENT_BYTES = 16 * 1024 * 1024;

/** A record is digests and envelopes; content does not belong here. */
export const MAX_RECORD_BYTES = 1024 * 1024;

/** Waiting for a disk that has stopped. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** Every segment repeats the open intents in its first record, which has to stay a line one can read. */
export const MAX_OPEN_INTENTS = 4_096;
export const MAX_INTENT_BYTES = 4_096;

/** What a crash leaves unsigned, against one small write and fsync each. */
export const CHECKPOINT_EVERY_MS = 1_000;
