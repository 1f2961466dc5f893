import { appendFileSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CommandServer,
  fileDigest,
  type Manifest,
  SERVER_MANIFEST,
} from '@zerolatency/manifest';
import type { Bundle } from '@zerolatency/policy';
import { POLICY_BUNDLE } from '@zerolatency/policy';
import { signDocument, signerFromPem } from '@zerolatency/signing';
import { nodeLauncher } from '@zerolatency/testing';
import { parse, stringify } from 'yaml';
import type { Layout } from '../../services/cli/src/installation/layout.ts';
import { writePublic } from '../../services/cli/src/installation/private-file.ts';

const project = join(import.meta.dirname, '../..');
const fixtures = join(import.meta.dirname, 'fixtures');
const NO_WARNING = '--disable-warning=ExperimentalWarning';

/** A server that runs on Node beside fs, with the fields that differ. */
export type AddedServer = Pick<CommandServer, 'name' | 'args'> & Partial<CommandServer>;

/** Gives the device a second server, whose tool has effects, and lets the model call it. */
export async function addEffectsServer(layout: Layout): Promise<void> {
  await writeFile(tracePath(layout), '');
  await addServers(layout, [effectsServer(layout, 'effects')]);
}

/** Servers of any name write their traces to the same file. */
export function effectsServer(layout: Layout, name: string): AddedServer {
  const args = [join(fixtures, 'effects-server.ts'), tracePath(layout)];
  return { name, args, effects: { act: 'external' } };
}

/** Lets the device start more servers and the model call all their tools. */
export async function addServers(layout: Layout, added: readonly AddedServer[]): Promise<void> {
  const grants = {
    read: ['node_modules', 'packages', 'test/e2e/fixtures'].map((path) => join(project, path)),
    write: [tracePath(layout)],
  };
  const program = {
    command: nodeLauncher,
    sha256: await fileDigest(nodeLauncher),
    unpinned: true,
    env: { allow: [], set: {} },
    grants,
  } as const;
  await signManifestWith(layout, (manifest) => {
    const servers = added.map(({ args, ...server }) => {
      return { ...program, args: [NO_WARNING, ...args], ...server };
    });
    const all = [...manifest.servers, ...servers];
    return { ...manifest, version: manifest.version + 1, servers: all };
  });
  await scriptModel(layout);
  await signBundleWith(layout, layout.policy.bundle, (bundle) => ({
    ...bundle,
    version: bundle.version + 1,
    rules: [
      ...bundle.rules,
      {
        id: `added-${bundle.rules.length}`,
        effect: 'allow',
        tools: added.map(({ name }) => `${name}.*`),
        caps: { timeoutMs: 20_000, maxBytes: 16_777_216 },
      },
    ],
  }));
}

/** The model follows instructions: `call <tool> <arguments>`, `read <path>`, `act ...`. */
export async function scriptModel(layout: Layout): Promise<void> {
  await editConfig(layout.host.config, {
    providers: { mock: { scriptFile: join(fixtures, 'script.yaml') } },
  });
}

export async function editConfig(path: string, changes: Record<string, unknown>): Promise<void> {
  await writeFile(path, stringify({ ...(await configOf(path)), ...changes }));
}

export async function configOf(path: string) {
  return parse(await readFile(path, 'utf8'));
}

/** Replaces the installation's manifest with a signed, changed copy. */
export async function signManifestWith(
  layout: Layout,
  change: (manifest: Manifest) => Manifest,
): Promise<Manifest> {
  const signer = signerFromPem(await readFile(layout.manifestKey, 'utf8'));
  const manifest = change(await payloadOf<Manifest>(layout.device.manifest));
  await writePublic(
    layout.device.manifest,
    await signDocument(SERVER_MANIFEST, manifest, [signer]),
  );
  return manifest;
}

/** Signs a changed copy of the installation's bundle into the given file. */
export async function signBundleWith(
  layout: Layout,
  path: string,
  change: (bundle: Bundle) => Bundle,
): Promise<void> {
  const signer = signerFromPem(await readFile(layout.policy.key, 'utf8'));
  const bundle = change(await payloadOf<Bundle>(layout.policy.bundle));
  await writePublic(path, await signDocument(POLICY_BUNDLE, bundle, [signer]));
}

/** The steps that the tool recorded for a key. */
export function traceOf(layout: Layout, key: string): string[] {
  const lines = readFileSync(tracePath(layout), 'utf8').split('\n');
  return lines.filter((line) => line.endsWith(` ${key}`)).map((line) => line.split(' ')[0] ?? '');
}

/** Ends a call that waits to be `released`. */
export function release(layout: Layout, key: string): void {
  appendFileSync(tracePath(layout), `release ${key}\n`);
}

function tracePath(layout: Layout): string {
  return join(layout.home, 'trace.txt');
}

async function payloadOf<T>(path: string): Promise<T> {
  const { payload } = JSON.parse(await readFile(path, 'utf8'));
  return JSON.parse(Buffer.from(payload, 'base64').toString('utf8')) as T;
}
