import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { type VerifiedManifest, verifyManifest } from '@zerolatency/policy';

/** The manifest, or why nothing may be started. */
export async function loadManifest(
  path: string,
  keys: readonly string[],
  nowMs: number,
): Promise<VerifiedManifest> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ZlError('manifest.invalid', `cannot read the manifest ${path}`, { cause });
  });
  const verified = verifyManifest(text, { keys, nowMs });
  if ('error' in verified) throw verified.error;
  return verified;
}
