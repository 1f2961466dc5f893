import { createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { platform } from 'node:os';
import { dirname, join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { makeFolder } from '@zerolatency/service/files';
import { generateKeyPair, type KeyPair } from '@zerolatency/signing';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { parse, parseDocument } from 'yaml';
import { readSettings } from '../settings.ts';
import { addCertificate, createCertificates } from './certificates.ts';
import { writeConfiguration, writeRegistrar, writeSettings } from './configuration.ts';
import type { Layout } from './layout.ts';
import {
  createPolicyKeys,
  firstBundle,
  firstManifest,
  installBundle,
  installManifest,
} from './policy.ts';
import { writePrivate, writePublic } from './private-file.ts';
import { addRevocations } from './revocations.ts';

/** The smallest sun_path, 104 bytes on macOS, without its terminating null. */
const MAX_SOCKET_PATH_BYTES = 103;

const WELCOME = `Welcome to Zero Latency.

This file lies on the device. A model asked for it through the model-host,
the tool-relay found the device, the device-bridge checked its own policy,
and an MCP server on this machine read it. Every hop was encrypted, and the
receipt of the call is signed by both ends.
`;

/** Creates a local installation, or what one of an earlier release lacks. */
export async function createInstallation(layout: Layout): Promise<void> {
  // The settings are written last, so that an interrupted creation starts over.
  if (existsSync(layout.settings)) await addRegistrar(layout);
  else await createParties(layout);
  await addRevocations(layout);
  await addWitness(layout);
}

async function createParties(layout: Layout): Promise<void> {
  checkFolder(layout);
  for (const folder of [layout.host.state, layout.device.state]) {
    await makeFolder(folder);
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
  await makeFolder(device.files);
  await writePublic(join(device.files, 'welcome.txt'), WELCOME);
  await installManifest(layout, firstManifest(layout));
}

/** Keys that sign access tokens and device credentials, and the key sets that verify them. */
async function createIssuers(layout: Layout): Promise<void> {
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

/** The device of an installation of release 0.1 witnesses the ledger of its host as well. */
async function addWitness({ device, receiptKeys }: Layout): Promise<void> {
  const config = parseDocument(await readFile(device.config, 'utf8'));
  // The bridge itself reports broken YAML, with the place.
  if (config.errors.length > 0 || config.has('witness')) return;
  config.set('witness', { hostKeysDir: receiptKeys.host });
  await writePrivate(device.config, String(config));
}

/** An installation of release 0.1 gets a registrar, and only that keeps the issuing key. */
async function addRegistrar(layout: Layout): Promise<void> {
  const settings = await readSettings(layout.settings);
  if (settings.registrar !== undefined) return;
  const { issuerKey, earlierIssuerKey } = layout.registrar;
  await makeFolder(dirname(issuerKey));
  if (existsSync(earlierIssuerKey)) await rename(earlierIssuerKey, issuerKey);
  await addCertificate(layout, 'registrar');
  const { relay } = parse(await readFile(layout.device.config, 'utf8'));
  const registrar = await writeRegistrar(layout, { relayUrls: relay.urls });
  await writeSettings(layout, { ...settings, registrar });
}
