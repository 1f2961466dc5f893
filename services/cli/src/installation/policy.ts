import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Bundle, type Manifest, signBundle, signManifest } from '@zerolatency/policy';
import { generateKeyPair, signerFromPem } from '@zerolatency/receipts';
import { local } from './identity.ts';
import { type Layout, projectRoot } from './layout.ts';
import { writePrivate, writePublic } from './private-file.ts';

/** A bundle says for how long it may be trusted; `zl up` signs a fresh one past half of this. */
export const bundleLifetimeMs = 14 * 24 * 60 * 60 * 1000;

export async function createPolicyKeys(layout: Layout): Promise<void> {
  const policy = generateKeyPair();
  await writePrivate(layout.policy.key, policy.privatePem);
  await writePublic(join(layout.policy.keys, `${policy.keyid}.pem`), policy.publicPem);
  const manifest = generateKeyPair();
  await writePrivate(layout.manifestKey, manifest.privatePem);
  await writePublic(join(layout.device.manifestKeys, `${manifest.keyid}.pem`), manifest.publicPem);
}

/** Lets this person read files below the folder that the manifest gives the server. */
export async function signLocalBundle(layout: Layout, version: number): Promise<void> {
  const issuedAtMs = Date.now();
  const bundle: Bundle = {
    schema: 'zerolatency.policy/v1',
    id: 'local',
    version,
    issuedAt: new Date(issuedAtMs).toISOString(),
    expiresAt: new Date(issuedAtMs + bundleLifetimeMs).toISOString(),
    rules: [
      {
        id: 'developers-read-files',
        effect: 'allow',
        tools: ['fs.read'],
        tenants: [local.tenant],
        roles: [...local.roles],
        caps: { timeoutMs: 10_000, maxBytes: 1_048_576, callsPerTurn: 16 },
      },
    ],
  };
  const signer = signerFromPem(await readFile(layout.policy.key, 'utf8'));
  await writePublic(layout.policy.source, `${JSON.stringify(bundle, null, 2)}\n`);
  await writePublic(layout.policy.bundle, await signBundle(bundle, [signer]));
}

/** The one MCP server a local bridge may start: our own, for files. */
export async function signLocalManifest(layout: Layout, nodePath: string): Promise<void> {
  const script = join(projectRoot, 'services/device-bridge/src/tools/fs/fs-server.ts');
  const manifest: Manifest = {
    schema: 'zerolatency.manifest/v1',
    id: 'local',
    version: 1,
    issuedAt: new Date().toISOString(),
    servers: [
      {
        name: 'fs',
        command: nodePath,
        sha256: await sha256Of(nodePath),
        files: [{ path: script, sha256: await sha256Of(script) }],
        args: ['--disable-warning=ExperimentalWarning', script, '--root', layout.device.files],
        env: { allow: [], set: {} },
        effects: { read: 'none' },
      },
    ],
  };
  const signer = signerFromPem(await readFile(layout.manifestKey, 'utf8'));
  await writePublic(layout.device.manifest, await signManifest(manifest, [signer]));
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
