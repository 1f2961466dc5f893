// Bundles each service into one file below dist/, beside what it reads at run time.
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

interface Bundle {
  /** From the output's name to the source. */
  readonly entries: Readonly<Record<string, string>>;
  /** From where it lies in the bundle to where it comes from. */
  readonly assets: Readonly<Record<string, string>>;
}

const BUNDLES: Readonly<Record<string, Bundle>> = {
  'model-host': {
    entries: { main: 'services/model-host/src/main.ts' },
    assets: {
      'contracts/tools': 'contracts/tools',
      console: 'services/model-host/src/adapters/console/page',
      'default-script.yaml': 'services/model-host/src/adapters/mock-provider/default-script.yaml',
    },
  },
  'tool-relay': {
    entries: { main: 'services/tool-relay/src/main.ts' },
    // A native binary cannot be bundled; this is also where another release of it is swapped in.
    assets: { 'node_modules/uWebSockets.js': 'node_modules/uWebSockets.js' },
  },
  'device-bridge': {
    entries: {
      main: 'services/device-bridge/src/main.ts',
      'fs-server': 'services/device-bridge/src/tools/fs/fs-server.ts',
    },
    assets: {},
  },
};

const out = process.argv[2] ?? 'dist';

for (const [name, { entries, assets }] of Object.entries(BUNDLES)) {
  const folder = join(out, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build({
    entryPoints: { ...entries },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    // Keeps apart what is loaded later on purpose.
    splitting: true,
    chunkNames: 'chunk-[hash]',
    platform: 'node',
    target: 'node22',
    format: 'esm',
    external: ['uWebSockets.js'],
    // Packages written for CommonJS ask for Node's own modules by require.
    banner: {
      js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
    },
    sourcemap: 'linked',
    legalComments: 'linked',
    logLevel: 'warning',
  });
  for (const [to, from] of Object.entries(assets)) {
    cpSync(from, join(folder, to), { recursive: true, dereference: true });
  }
  console.log(`${folder}: ${Object.keys(entries).join(', ')}`);
}
