import type { Floor } from './floor.ts';
import type { Line, Segment } from './segments.ts';

/** The stored bytes of one ledger, for reading. */
export interface LedgerSource {
  /** For messages. */
  readonly name: string;
  /** In order; empty where there is no ledger. */
  segments(): Promise<readonly Segment[]>;
  lines(segment: Segment): AsyncIterable<Line>;
  checkpoint(): Promise<string | undefined>;
  /** The canonical text that was kept under the digest. */
  bundle(digest: string): Promise<Uint8Array | undefined>;
}

export interface StoredRecord {
  readonly index: number;
  /** With its line feed. */
  readonly line: Uint8Array;
  /** Set where the record begins one. */
  readonly segment?: Segment;
}

/** Held by the one process that may write. */
export interface WriterLock {
  /** False once another process may write. */
  isHeld(): boolean;
  release(): void;
  /** For a start that failed: leaves nothing that was not there before. */
  abandon(): void;
}

/** The same for its only writer. What resolves has survived a crash of the machine, unless `isDurable` is false. */
export interface LedgerStore extends LedgerSource {
  readonly isDurable: boolean;
  /** Names the ledger that is begun here; 32 hexadecimal digits. */
  newLedgerId(): string;
  /** @throws ledger.failed while another process holds it */
  lock(): Promise<WriterLock>;
  /** Before the first append to what recovery has read. */
  resume(last: Segment): Promise<void>;
  /** All or none, unless `cut` is there. */
  append(batch: readonly StoredRecord[]): Promise<void>;
  /** Removes the line and all that follows; returns how many bytes that were. Absent where no write is ever cut short. */
  cut?(from: { readonly segment: Segment; readonly start: number }): Promise<number>;
  replaceCheckpoint(note: string): Promise<void>;
  /** Before the next record. */
  keepBundle(digest: string, text: Uint8Array): void;
  /** Where the newest checkpoint is remembered beside the ledger. */
  readonly floor?: LedgerFloor | undefined;
  /** After its last record and checkpoint: nobody takes it over. */
  end?(): Promise<void>;
  /** Reopens the store after a failure. @throws ledger.failed */
  assertRoom?(): Promise<void>;
  /** Where another process has ended this ledger: the one to go on with. */
  successor?(): Promise<LedgerStore | undefined>;
  close(): Promise<void>;
}

export interface LedgerFloor {
  readonly name: string;
  read(): Promise<Floor | undefined>;
  raise(floor: Floor): Promise<void>;
}
