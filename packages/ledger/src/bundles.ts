import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type Bundle, POLICY_BUNDLE } from '@zerolatency/policy';
import { checkDocument, digestOfBytes } from '@zerolatency/signing';
import type { LedgerSource } from './store.ts';

/** Each holds the canonical text whose SHA-256 is its name. */
export function bundleFile(dir: string, digest: string): string {
  return join(dir, 'bundles', `${digest.slice('sha256:'.length)}.json`);
}

/** Synchronous, because the bundle has to be there before the record of the first decision with it. */
export function keepBundle(dir: string, digest: string, text: Uint8Array): void {
  const path = bundleFile(dir, digest);
  if (existsSync(path) && digestOfBytes(readFileSync(path)) === digest) return;
  // The ledger's own folder is there.
  if (!existsSync(dirname(path))) mkdirSync(dirname(path), { mode: 0o700 });
  const draft = `${path}.new`;
  const file = openSync(draft, 'w', 0o600);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncNames(dirname(path));
  syncNames(dir);
}

export type KeptBundle =
  | { readonly state: 'kept'; readonly content: Bundle }
  | { readonly state: 'missing' }
  | { readonly state: 'altered'; readonly why: string };

export async function readBundle(
  source: Pick<LedgerSource, 'bundle'>,
  digest: string,
): Promise<KeptBundle> {
  const bytes = await source.bundle(digest);
  if (bytes === undefined) return { state: 'missing' };
  if (digestOfBytes(bytes) !== digest) return { state: 'altered', why: 'does not have its digest' };
  const checked = checkDocument(POLICY_BUNDLE, parseJson(bytes));
  return 'content' in checked
    ? { state: 'kept', content: checked.content }
    : { state: 'altered', why: checked.error.message };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    // No bundle then, as the caller says.
    return undefined;
  }
}

function syncNames(dir: string): void {
  // Windows cannot open a directory, and its renames are durable without that.
  if (process.platform === 'win32') return;
  const folder = openSync(dir, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
