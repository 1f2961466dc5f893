import { createPrivateKey, createPublicKey } from 'node:crypto';
import { generateKeyPair, type KeyPair } from '@zerolatency/signing';
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose';
import type { Layout } from './layout.ts';
import { local } from './local.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** A local device is enrolled anew whenever `zl up` finds less than half of this left. */
const credentialLifetimeMs = 30 * 24 * 60 * 60 * 1000;

/** Keys that sign people's tokens and devices' credentials, and the sets that verify them. */
export async function createIssuers(layout: Layout): Promise<void> {
  for (const { key, jwks } of [layout.tokens, layout.enrolment]) {
    const pair = generateKeyPair();
    await writePrivate(key, pair.privatePem);
    await writePublic(jwks, JSON.stringify({ keys: [await publicJwk(pair)] }));
  }
}

/** What enrolment gives a device: its name and tenant, bound to the key it made. */
export async function issueCredential(request: {
  readonly enrolmentKeyPem: string;
  readonly devicePublicPem: string;
  readonly nowMs: number;
}): Promise<string> {
  const { nowMs, ...keys } = request;
  const key = createPrivateKey(keys.enrolmentKeyPem);
  const jwk = await exportJWK(createPublicKey(keys.devicePublicPem));
  const kid = await calculateJwkThumbprint(await exportJWK(createPublicKey(keys.enrolmentKeyPem)));
  return await new SignJWT({ tenant: local.tenant, cnf: { jwk } })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-device+jwt', kid })
    .setIssuer(local.enrolmentIssuer)
    .setSubject(local.deviceId)
    .setIssuedAt(new Date(nowMs))
    .setExpirationTime(new Date(nowMs + credentialLifetimeMs))
    .sign(key);
}

async function publicJwk({ publicPem }: KeyPair) {
  const jwk = await exportJWK(createPublicKey(publicPem));
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'EdDSA', use: 'sig' };
}
