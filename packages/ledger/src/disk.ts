import { open, rm } from 'node:fs/promises';
import { syncDirectory, writeAtomically } from '@zerolatency/service/files';

/** The part of a file handle that a segment needs. */
export interface SegmentFile {
  appendFile(bytes: Uint8Array): Promise<void>;
  truncate(bytes: number): Promise<void>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

/** All that changes files. */
export interface LedgerDisk {
  /** For appending; makes the file when there is none. */
  open(path: string): Promise<SegmentFile>;
  remove(path: string): Promise<void>;
  /** Names that came and went survive a crash of the machine only after this. */
  syncFolder(dir: string): Promise<void>;
  /** A small file, whole or not at all. */
  replace(path: string, text: string, fsync: boolean): Promise<void>;
}

export const realDisk: LedgerDisk = {
  open: (path) => open(path, 'a', 0o600),
  remove: (path) => rm(path),
  syncFolder: syncDirectory,
  replace: writeAtomically,
};
