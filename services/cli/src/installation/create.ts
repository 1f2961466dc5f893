import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair } from '@zerolatency/receipts';
import { createCertificates } from './certificates.ts';
import { writeConfiguration } from './configuration.ts';
import { createIssuers, issueCredential } from './identity.ts';
import type { Layout } from './layout.ts';
import { createPolicyKeys, signLocalBundle, signLocalManifest } from './policy.ts';
import { writePrivate, writePublic } from './private-file.ts';

const welcome = `Welcome to Zero Latency.

This file lies on the device. A model asked for it through the model-host,
the tool-relay found the device, the device-bridge checked its own policy,
and an MCP server on this machine read it. Every hop was encrypted, and the
receipt of the call is signed by both ends.
`;

/** Makes whatever a local installation lacks; keeps all that is there. */
export async function createInstallation(layout: Layout, nodePath: string): Promise<void> {
  // Written last, so a creation that was cut short is begun again.
  if (existsSync(layout.settings)) return;
  await createCertificates(layout);
  await createIssuers(layout);
  await createPolicyKeys(layout);
  await signLocalBundle(layout, 1);
  await createSigningKey({ key: layout.host.key, publicKeys: layout.receiptKeys.host });
  await createDevice(layout, nodePath);
  await writeConfiguration(layout);
}

async function createSigningKey(place: { key: string; publicKeys: string }): Promise<string> {
  const pair = generateKeyPair();
  await writePrivate(place.key, pair.privatePem);
  await writePublic(join(place.publicKeys, `${pair.keyid}.pem`), pair.publicPem);
  return pair.publicPem;
}

async function createDevice(layout: Layout, nodePath: string): Promise<void> {
  const { device, enrolment, receiptKeys } = layout;
  const devicePublicPem = await createSigningKey({
    key: device.key,
    publicKeys: receiptKeys.device,
  });
  const enrolmentKeyPem = await readFile(enrolment.key, 'utf8');
  await writePrivate(
    device.credential,
    await issueCredential({ enrolmentKeyPem, devicePublicPem }),
  );
  await mkdir(device.files, { recursive: true, mode: 0o700 });
  await writePublic(join(device.files, 'welcome.txt'), welcome);
  await signLocalManifest(layout, nodePath);
}
