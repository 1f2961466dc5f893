import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Bundle } from '@zerolatency/policy';
import { decodeJwt } from 'jose';
import { credentialLifetimeMs, issueCredential } from './identity.ts';
import type { Layout } from './layout.ts';
import { bundleLifetimeMs, signLocalBundle } from './policy.ts';
import { writePrivate } from './private-file.ts';

/** Signs anew what has lived half its life. Running services pick both up without a restart. */
export async function renewExpiring(layout: Layout): Promise<void> {
  const bundle: Bundle = JSON.parse(await readFile(layout.policy.source, 'utf8'));
  if (isPastHalf(Date.parse(bundle.expiresAt), bundleLifetimeMs)) {
    await signLocalBundle(layout, bundle.version + 1);
  }
  const credential = await readFile(layout.device.credential, 'utf8');
  if (!isPastHalf((decodeJwt(credential).exp ?? 0) * 1000, credentialLifetimeMs)) return;
  const devicePublicPem = createPublicKey(await readFile(layout.device.key, 'utf8'))
    .export({ type: 'spki', format: 'pem' })
    .toString();
  const enrolmentKeyPem = await readFile(layout.enrolment.key, 'utf8');
  await writePrivate(
    layout.device.credential,
    await issueCredential({ enrolmentKeyPem, devicePublicPem }),
  );
}

function isPastHalf(expiresAtMs: number, lifetimeMs: number): boolean {
  return expiresAtMs - Date.now() < lifetimeMs / 2;
}
