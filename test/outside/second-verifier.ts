import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LedgerReport } from '@zerolatency/ledger';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAM = join(import.meta.dirname, 'verify.py');

/** The first that has the cryptography package: Debian's, where another one comes first on PATH. */
const python = ['python3', '/usr/bin/python3'].find(
  (name) => spawnSync(name, ['-B', '-c', 'import cryptography']).status === 0,
);

/** scripts/install says so as well. */
export function needsPython(): { readonly skip: string | false } {
  const isMissing = python === undefined;
  return { skip: isMissing ? 'python3-cryptography is not installed' : false };
}

/** What both verifiers say of a ledger in the same words. */
export interface Verdict {
  readonly verdict: LedgerReport['verdict'];
  readonly records: number;
  readonly root: string;
  readonly index?: number;
}

export interface KeyPaths {
  /** A public PEM file, or a folder of them. */
  readonly host: string;
  readonly device: string;
  /** Files of checkpoints kept elsewhere. */
  readonly checkpoints?: readonly string[];
}

/** One process for all folders, because its start takes longer than its work. */
export function verifyOutside(folders: readonly string[], keys: KeyPaths): Verdict[] {
  const options = ['--contracts', join(ROOT, 'contracts')];
  const kept = (keys.checkpoints ?? []).flatMap((file) => ['--checkpoint', file]);
  const paths = ['--host-keys', keys.host, '--device-keys', keys.device, ...kept, ...folders];
  const args = ['-B', PROGRAM, ...options, ...paths];
  const { stdout, stderr, status } = spawnSync(python ?? 'python3', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the second verifier failed: ${stderr}`);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => verdictOf(JSON.parse(line)));
}

export function verdictOf(found: Verdict): Verdict {
  const { verdict, records, root, index } = found;
  return { verdict, records, root, ...(index !== undefined && { index }) };
}

export function ourVerdict({ verdict, records, root, firstBad }: LedgerReport): Verdict {
  return verdictOf({ verdict, records, root, ...firstBad });
}

/** A folder with one file for each role. */
export function writeKeys(
  dir: string,
  pems: Readonly<Record<'host' | 'device', string>>,
): KeyPaths {
  mkdirSync(dir, { recursive: true });
  const paths = { host: join(dir, 'host.pem'), device: join(dir, 'device.pem') };
  writeFileSync(paths.host, pems.host);
  writeFileSync(paths.device, pems.device);
  return paths;
}
