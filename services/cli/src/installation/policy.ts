import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Manifest, SERVER_MANIFEST } from '@zerolatency/manifest';
import { type Bundle, POLICY_BUNDLE } from '@zerolatency/policy';
import { generateKeyPair, signDocument, signerFromPem } from '@zerolatency/signing';
import type { Layout } from './layout.ts';
import { LOCAL } from './local.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** A bundle says for how long it may be trusted; `zl up` signs a fresh one past half of this. */
const BUNDLE_LIFETIME_MS = 14 * 24 * 60 * 60 * 1000;

export async function createPolicyKeys(layout: Layout): Promise<void> {
  const policy = generateKeyPair();
  await writePrivate(layout.policy.key, policy.privatePem);
  await writePublic(join(layout.policy.keys, `${policy.keyid}.pem`), policy.publicPem);
  const manifest = generateKeyPair();
  await writePrivate(layout.manifestKey, manifest.privatePem);
  await writePublic(join(layout.device.manifestKeys, `${manifest.keyid}.pem`), manifest.publicPem);
}

/** Lets this person read files below the folder that the manifest gives the server. */
export function firstBundle(nowMs: number): Bundle {
  return {
    schema: 'zerolatency.policy/v1',
    id: 'local',
    version: 1,
    issuedAt: new Date(nowMs).toISOString(),
    expiresAt: new Date(nowMs + BUNDLE_LIFETIME_MS).toISOString(),
    rules: [
      {
        id: 'developers-read-files',
        effect: 'allow',
        tools: ['fs.read'],
        tenants: [LOCAL.tenant],
        roles: [...LOCAL.roles],
        caps: { timeoutMs: 10_000, maxBytes: 1_048_576, callsPerTurn: 16 },
      },
    ],
  };
}

/** The one MCP server a local bridge may start at first: the bridge's own, for files. */
export function firstManifest(layout: Layout): Manifest {
  return {
    schema: 'zerolatency.manifest/v3',
    id: 'local',
    version: 1,
    issuedAt: new Date().toISOString(),
    servers: [{ name: 'fs', builtin: 'fs', settings: { roots: [layout.device.files] } }],
  };
}

export async function installBundle(layout: Layout, bundle: Bundle): Promise<void> {
  const signer = signerFromPem(await readFile(layout.policy.key, 'utf8'));
  await writePublic(layout.policy.bundle, await signDocument(POLICY_BUNDLE, bundle, [signer]));
}

export async function installManifest(layout: Layout, manifest: Manifest): Promise<void> {
  const signer = signerFromPem(await readFile(layout.manifestKey, 'utf8'));
  await writePublic(
    layout.device.manifest,
    await signDocument(SERVER_MANIFEST, manifest, [signer]),
  );
}
