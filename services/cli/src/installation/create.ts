import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { platform } from 'node:os';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { generateKeyPair } from '@zerolatency/signing';
import { addRegistrar } from './add-registrar.ts';
import { createCertificates } from './certificates.ts';
import { writeConfiguration } from './configuration.ts';
import { createIssuers } from './identity.ts';
import type { Layout } from './layout.ts';
import {
  createPolicyKeys,
  firstBundle,
  firstManifest,
  installBundle,
  installManifest,
} from './policy.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** The smallest sun_path, 104 bytes on macOS, without its terminating null. */
const MAX_SOCKET_PATH_BYTES = 103;

const WELCOME = `Welcome to Zero Latency.

This file lies on the device. A model asked for it through the model-host,
the tool-relay found the device, the device-bridge checked its own policy,
and an MCP server on this machine read it. Every hop was encrypted, and the
receipt of the call is signed by both ends.
`;

/** Creates a local installation unless there is one. */
export async function createInstallation(layout: Layout): Promise<void> {
  // The settings are written last, so that an interrupted creation starts over.
  if (existsSync(layout.settings)) return addRegistrar(layout);
  checkFolder(layout);
  for (const folder of [layout.host.state, layout.device.state]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await createCertificates(layout);
  await createIssuers(layout);
  await createPolicyKeys(layout);
  await installBundle(layout, firstBundle(Date.now()));
  await createHostKey(layout);
  await createDevice(layout);
  await writeConfiguration(layout);
}

/** Systems truncate or refuse longer socket paths without a clear error. */
export function checkFolder({ device }: Layout): void {
  const path = device.controlSocket;
  const bytes = Buffer.byteLength(path);
  if (platform() === 'win32' || bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new ZlError(
    'config.invalid',
    `${path} has ${bytes} bytes; a Unix socket path has at most ${MAX_SOCKET_PATH_BYTES}: use a folder with a shorter path (--home)`,
  );
}

async function createHostKey({ host, receiptKeys }: Layout): Promise<void> {
  const pair = generateKeyPair();
  await writePrivate(host.key, pair.privatePem);
  await writePublic(join(receiptKeys.host, `${pair.keyid}.pem`), pair.publicPem);
}

/** Key and credential come with its enrolment. */
async function createDevice(layout: Layout): Promise<void> {
  const { device } = layout;
  await mkdir(device.files, { recursive: true, mode: 0o700 });
  await writePublic(join(device.files, 'welcome.txt'), WELCOME);
  await installManifest(layout, firstManifest(layout));
}
