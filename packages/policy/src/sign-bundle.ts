import { canonicalJson, type Signer, signEnvelope } from '@zerolatency/signing';
import type { Bundle } from './bundle.ts';
import { checkBundle } from './check-bundle.ts';

export const BUNDLE_PAYLOAD_TYPE = 'application/vnd.zerolatency.policy.v1+json';

/** The envelope as JSON text. Throws policy.invalid for what nobody would accept. */
export async function signBundle(bundle: Bundle, signers: readonly Signer[]): Promise<string> {
  const checked = checkBundle(bundle);
  if ('error' in checked) throw checked.error;
  const payload = canonicalJson(checked.bundle);
  return signEnvelope({ payloadType: BUNDLE_PAYLOAD_TYPE, payload, keys: signers });
}
