import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'node:test';
import { signReceipt } from '@zerolatency/receipts';
import { digestOf, generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { type LedgerDisk, realDisk } from '../src/file-store.ts';
import type { Ledger, LedgerOptions } from '../src/ledger.ts';
import { openLedger } from '../src/ledger.ts';
import type { LedgerEntry } from '../src/record.ts';

export const ORIGIN = 'zerolatency/test';
export const signer = signerFromPem(generateKeyPair().privatePem);
export const otherKey = signerFromPem(generateKeyPair().privatePem);
const SALT = '5a'.repeat(16);
export const keys = [signer.verifier()];

/** A directory and its ledgers, all gone after each test. */
export function useLedgerDirectory() {
  const opened: Ledger[] = [];
  const scratch = {
    dir: '',
    async open(options: Partial<LedgerOptions> = {}): Promise<Ledger> {
      const ledger = await openLedger({
        dir: scratch.dir,
        origin: ORIGIN,
        signer,
        fsync: false,
        ...options,
      });
      opened.push(ledger);
      return ledger;
    },
    async reopen(ledger: Ledger): Promise<Ledger> {
      const again = await ledger.reopen();
      opened.push(again);
      return again;
    },
    files: () => readdirSync(scratch.dir).sort(),
    /** A folder with what is on disk now, as after a crash. */
    crashed(dir: string): string {
      const copy = mkdtempSync(join(scratch.dir, 'crashed-'));
      mkdirSync(copy, { recursive: true });
      for (const name of readdirSync(dir).filter((name) => /^(segment-|checkpoint$)/.test(name))) {
        copyFileSync(join(dir, name), join(copy, name));
      }
      return copy;
    },
  };
  beforeEach(() => {
    scratch.dir = mkdtempSync(join(tmpdir(), 'zl-ledger-'));
  });
  afterEach(async () => {
    await Promise.allSettled(opened.splice(0).map((ledger) => ledger.close()));
    rmSync(scratch.dir, { recursive: true });
  });
  return scratch;
}

export type DiskOperation = keyof LedgerDisk | 'appendFile' | 'truncate' | 'datasync';

/** The real disk, which awaits `before` before each operation; what that throws, the disk reports. */
export function watchedDisk(
  before: (operation: DiskOperation, path: string) => void | Promise<void>,
): LedgerDisk {
  return {
    async open(path) {
      await before('open', path);
      const file = await realDisk.open(path);
      const run = async (operation: DiskOperation, work: () => Promise<void>) => {
        await before(operation, path);
        await work();
      };
      return {
        appendFile: (bytes) => run('appendFile', () => file.appendFile(bytes)),
        truncate: (bytes) => run('truncate', () => file.truncate(bytes)),
        datasync: () => run('datasync', () => file.datasync()),
        close: () => file.close(),
      };
    },
    async remove(path) {
      await before('remove', path);
      await realDisk.remove(path);
    },
    async syncFolder(dir) {
      await before('syncFolder', dir);
      await realDisk.syncFolder(dir);
    },
    async replace(path, text, fsync) {
      before('replace', path);
      await realDisk.replace(path, text, fsync);
    },
  };
}

export function callId(number: number): string {
  return number.toString(16).padStart(32, '0');
}

export function intent(number: number): LedgerEntry {
  return {
    kind: 'call.intent',
    body: {
      callId: callId(number),
      executor: 'device',
      tool: 'fs.read',
      argumentsDigest: digestOf({ number }),
      argumentSalt: SALT,
      tenant: 't',
      user: 'u',
    },
  };
}

export async function receipt(number: number, by = signer): Promise<LedgerEntry> {
  const envelope = await signReceipt(
    {
      role: 'host',
      executor: 'device',
      callId: callId(number),
      tool: 'fs.read',
      argumentsDigest: digestOf({ number }),
      outcome: 'denied',
      errorId: 'policy.denied',
      caps: {},
      elapsedUs: number,
      startedAt: '2026-01-02T03:04:05Z',
      tenant: 't',
      user: 'u',
    },
    by,
  );
  const body = { callId: callId(number), argumentSalt: SALT, receipt: envelope };
  return { kind: 'call.receipt', body };
}
