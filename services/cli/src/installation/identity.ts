import { createPrivateKey, createPublicKey } from 'node:crypto';
import { issueDeviceCredential } from '@zerolatency/identity';
import { generateKeyPair, type KeyPair } from '@zerolatency/signing';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import type { Layout } from './layout.ts';
import { LOCAL } from './local.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** `zl up` enrols the local device again when less than half of this is left. */
const CREDENTIAL_LIFETIME_MS = 30 * 24 * 60 * 60 * 1000;

/** Keys that sign access tokens and device credentials, and the key sets that verify them. */
export async function createIssuers(layout: Layout): Promise<void> {
  for (const { key, jwks } of [layout.tokens, layout.enrolment]) {
    const pair = generateKeyPair();
    await writePrivate(key, pair.privatePem);
    await writePublic(jwks, JSON.stringify({ keys: [await publicJwk(pair)] }));
  }
}

/** Enrols the local device. */
export async function issueCredential(request: {
  readonly enrolmentKeyPem: string;
  readonly devicePublicPem: string;
  readonly nowMs: number;
}): Promise<string> {
  const { enrolmentKeyPem, devicePublicPem, nowMs } = request;
  const { tenant, deviceId, enrolmentIssuer: issuer } = LOCAL;
  return issueDeviceCredential({
    device: { tenant, deviceId },
    devicePublicKey: createPublicKey(devicePublicPem),
    issuer,
    issuerKey: createPrivateKey(enrolmentKeyPem),
    nowMs,
    validForMs: CREDENTIAL_LIFETIME_MS,
  });
}

async function publicJwk({ publicPem }: KeyPair) {
  const jwk = await exportJWK(createPublicKey(publicPem));
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'EdDSA', use: 'sig' };
}
