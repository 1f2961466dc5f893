import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle, Manifest } from '@zerolatency/policy';
import { signBundle, signManifest } from '@zerolatency/policy';
import { signerFromPem } from '@zerolatency/receipts';
import { parse, stringify } from 'yaml';
import type { Layout } from '../../services/cli/src/installation/layout.ts';

const fixtures = join(import.meta.dirname, 'fixtures');

/** Gives the device a second server, whose tool has effects, and lets the model call it. */
export async function addEffectsServer(layout: Layout): Promise<void> {
  const signer = signerFromPem(await readFile(layout.manifestKey, 'utf8'));
  const manifest = await payloadOf<Manifest>(layout.device.manifest);
  const [fs] = manifest.servers;
  if (fs === undefined) throw new Error('the local manifest names no server');
  const script = join(fixtures, 'effects-server.ts');
  const effects = {
    name: 'effects',
    command: fs.command,
    sha256: fs.sha256,
    env: fs.env,
    args: ['--disable-warning=ExperimentalWarning', script, tracePath(layout)],
    effects: { act: 'external' as const },
  };
  const next = { ...manifest, version: manifest.version + 1, servers: [fs, effects] };
  await writeFile(layout.device.manifest, await signManifest(next, [signer]));
  await writeFile(tracePath(layout), '');
  await editConfig(layout.host.config, {
    providers: { mock: { scriptFile: join(fixtures, 'script.yaml') } },
  });
  await signBundleWith(layout, layout.policy.bundle, (bundle) => ({
    ...bundle,
    version: bundle.version + 1,
    rules: [
      ...bundle.rules,
      {
        id: 'act',
        effect: 'allow',
        tools: ['effects.*'],
        caps: { timeoutMs: 20_000, maxBytes: 8_388_608 },
      },
    ],
  }));
}

export async function editConfig(path: string, changes: Record<string, unknown>): Promise<void> {
  const config = parse(await readFile(path, 'utf8'));
  await writeFile(path, stringify({ ...config, ...changes }));
}

/** Signs a changed copy of the installation's bundle into the given file. */
export async function signBundleWith(
  layout: Layout,
  path: string,
  change: (bundle: Bundle) => Bundle,
): Promise<void> {
  const signer = signerFromPem(await readFile(layout.policy.key, 'utf8'));
  const bundle = change(await payloadOf<Bundle>(layout.policy.bundle));
  await writeFile(path, await signBundle(bundle, [signer]));
}

/** How often the tool acted on a key, and how that ended. */
export function traceOf(layout: Layout, key: string): string[] {
  const lines = readFileSync(tracePath(layout), 'utf8').split('\n');
  return lines.filter((line) => line.endsWith(` ${key}`)).map((line) => line.split(' ')[0] ?? '');
}

function tracePath(layout: Layout): string {
  return join(layout.home, 'trace.txt');
}

async function payloadOf<T>(path: string): Promise<T> {
  const { payload } = JSON.parse(await readFile(path, 'utf8'));
  return JSON.parse(Buffer.from(payload, 'base64').toString('utf8')) as T;
}
