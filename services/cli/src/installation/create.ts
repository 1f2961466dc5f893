import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { platform } from 'node:os';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { generateKeyPair } from '@zerolatency/signing';
import { createCertificates } from './certificates.ts';
import { writeConfiguration } from './configuration.ts';
import { createIssuers, issueCredential } from './identity.ts';
import type { Layout } from './layout.ts';
import {
  createPolicyKeys,
  type FilePrograms,
  firstBundle,
  firstManifest,
  installBundle,
  installManifest,
} from './policy.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** sun_path less its end: 104 on macOS, 108 on Linux. */
const maxSocketPathBytes = 103;

const welcome = `Welcome to Zero Latency.

This file lies on the device. A model asked for it through the model-host,
the tool-relay found the device, the device-bridge checked its own policy,
and an MCP server on this machine read it. Every hop was encrypted, and the
receipt of the call is signed by both ends.
`;

/** Makes whatever a local installation lacks; keeps all that is there. */
export async function createInstallation(layout: Layout, programs: FilePrograms): Promise<void> {
  // Written last, so a creation that was cut short is begun again.
  if (existsSync(layout.settings)) return;
  checkFolder(layout);
  for (const folder of [layout.host.state, layout.device.state]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await createCertificates(layout);
  await createIssuers(layout);
  await createPolicyKeys(layout);
  await installBundle(layout, firstBundle(Date.now()));
  await createSigningKey({ key: layout.host.key, publicKeys: layout.receiptKeys.host });
  await createDevice(layout, programs);
  await writeConfiguration(layout);
}

/** The system cuts a longer socket address or refuses it, and says neither clearly. */
export function checkFolder({ device }: Layout): void {
  const path = device.controlSocket;
  const bytes = Buffer.byteLength(path);
  if (platform() === 'win32' || bytes <= maxSocketPathBytes) return;
  throw new ZlError(
    'config.invalid',
    `${path} is ${bytes} bytes long, and a Unix socket takes ${maxSocketPathBytes}: install into a folder with a shorter path (--home)`,
  );
}

async function createSigningKey(place: { key: string; publicKeys: string }): Promise<string> {
  const pair = generateKeyPair();
  await writePrivate(place.key, pair.privatePem);
  await writePublic(join(place.publicKeys, `${pair.keyid}.pem`), pair.publicPem);
  return pair.publicPem;
}

async function createDevice(layout: Layout, programs: FilePrograms): Promise<void> {
  const { device, enrolment, receiptKeys } = layout;
  const devicePublicPem = await createSigningKey({
    key: device.key,
    publicKeys: receiptKeys.device,
  });
  const enrolmentKeyPem = await readFile(enrolment.key, 'utf8');
  await writePrivate(
    device.credential,
    await issueCredential({ enrolmentKeyPem, devicePublicPem, nowMs: Date.now() }),
  );
  await mkdir(device.files, { recursive: true, mode: 0o700 });
  await writePublic(join(device.files, 'welcome.txt'), welcome);
  await installManifest(layout, await firstManifest(layout, programs));
}
