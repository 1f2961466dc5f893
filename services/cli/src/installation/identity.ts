import { createPublicKey } from 'node:crypto';
import { generateKeyPair, type KeyPair } from '@zerolatency/signing';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import type { Layout } from './layout.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** Keys that sign access tokens and device credentials, and the key sets that verify them. */
export async function createIssuers(layout: Layout): Promise<void> {
  const { tokens, enrolment, registrar } = layout;
  for (const { key, jwks } of [tokens, { ...enrolment, key: registrar.issuerKey }]) {
    const pair = generateKeyPair();
    await writePrivate(key, pair.privatePem);
    await writePublic(jwks, JSON.stringify({ keys: [await publicJwk(pair)] }));
  }
}

async function publicJwk({ publicPem }: KeyPair) {
  const jwk = await exportJWK(createPublicKey(publicPem));
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'EdDSA', use: 'sig' };
}
