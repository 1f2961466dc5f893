import { canonicalJson, type Signer, signEnvelope } from '@zerolatency/signing';
import { checkManifest } from './check-manifest.ts';
import type { Manifest } from './manifest.ts';

export const MANIFEST_PAYLOAD_TYPE = 'application/vnd.zerolatency.manifest.v1+json';

/** The envelope as JSON text. Throws manifest.invalid for what no bridge would accept. */
export async function signManifest(
  manifest: Manifest,
  signers: readonly Signer[],
): Promise<string> {
  const checked = checkManifest(manifest);
  if ('error' in checked) throw checked.error;
  const payload = canonicalJson(checked.manifest);
  return signEnvelope({ payloadType: MANIFEST_PAYLOAD_TYPE, payload, keys: signers });
}
