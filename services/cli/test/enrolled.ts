import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { issueDeviceCredential } from '@zerolatency/identity';
import { generateKeyPair } from '@zerolatency/signing';
import type { Layout } from '../src/installation/layout.ts';
import { LOCAL } from '../src/installation/local.ts';
import { writePrivate, writePublic } from '../src/installation/private-file.ts';

const LIFETIME_MS = 24 * 60 * 60 * 1000;

/** Gives the local device key and credential as its enrolment would, for tests that start no registrar. */
export async function enrolWithoutRegistrar(
  { device, registrar, receiptKeys }: Layout,
  { lifetimeMs = LIFETIME_MS } = {},
) {
  const { tenant, deviceId, enrolmentIssuer: issuer } = LOCAL;
  const pair = generateKeyPair();
  await writePrivate(device.key, pair.privatePem);
  await writePublic(join(receiptKeys.device, `${pair.keyid}.pem`), pair.publicPem);
  const credential = await issueDeviceCredential({
    device: { tenant, deviceId },
    devicePublicKey: createPublicKey(pair.publicPem),
    issuer,
    issuerKey: createPrivateKey(await readFile(registrar.issuerKey, 'utf8')),
    nowMs: Date.now(),
    validForMs: lifetimeMs,
  });
  await writePrivate(device.credential, credential);
}
