import { readFile } from 'node:fs/promises';
import { ZlError } from '@zerolatency/errors';
import { type FloorPort, type VerifiedManifest, verifyManifest } from '@zerolatency/policy';

interface ManifestTrust {
  /** SPKI PEM texts. */
  readonly keys: readonly string[];
  readonly nowMs: number;
  readonly floor: FloorPort;
}

/** The manifest, or why nothing may be started. */
export async function loadManifest(path: string, trust: ManifestTrust): Promise<VerifiedManifest> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ZlError('manifest.invalid', `the manifest ${path} cannot be read`, { cause });
  });
  const floor = await trust.floor.load();
  const verified = verifyManifest(text, { ...trust, floor });
  if ('error' in verified) throw verified.error;
  const { id, version } = verified.manifest;
  // First, so that no crash can bring an older one back.
  await trust.floor.save({ id, version, digest: verified.digest });
  return verified;
}
