// Runs the tests below the given folders or files; all of them by default. The end-to-end tests
// and attacks among them start the services as they are shipped, so those are bundled first.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { TestRun } from './test-run.ts';

const EVERYTHING = ['packages', 'services', 'test', 'bench'];

/** Their files start processes and wait for them, so they are many at a time or too long in a row. */
const APART = ['services/device-bridge', 'test'];

const START_BUNDLES = ['test/e2e', 'test/attack', 'test/chaos'];

/** A long attack needs the machine to itself. Otherwise an end-to-end test starts three services of its own. */
const isLongAttack = process.env.ZL_ATTACK === 'long';
const PROCESSES_AT_A_TIME = isLongAttack ? 1 : 3;

/** Ends what hangs. A file or folder counts as one test, and a busy machine is five times slower. */
const TIMEOUT_MS = isLongAttack ? 3_600_000 : 600_000;

const given = process.argv.slice(2);
const places = given.length > 0 ? given.map((place) => relative('.', place)) : EVERYTHING;
// Once each, also where one place lies in another.
const files = [...new Set(places.flatMap(testsIn))].sort();
if (files.some((file) => isBelow(file, START_BUNDLES))) {
  const { status } = spawnSync(process.execPath, ['scripts/bundle.ts'], { stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

const run = TestRun.start();
const suites = join(run.folder, 'suites');
mkdirSync(suites);
const programs = [...Map.groupBy(files, folderOf)].flatMap(([folder, among]) =>
  folder === '' ? among : suiteOf(folder, among),
);
const { status } = spawnSync(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--test',
    `--test-concurrency=${PROCESSES_AT_A_TIME}`,
    `--test-timeout=${TIMEOUT_MS}`,
    '--test-reporter=spec',
    ...programs,
  ],
  { stdio: 'inherit', env: { ...withoutKeys(process.env), TMPDIR: run.folder } },
);
rmSync(suites, { recursive: true });
const left = await run.end();
for (const name of left) console.error(`left behind by the tests: ${name}`);
process.exitCode = left.length > 0 ? 1 : (status ?? 1);

/** With one of these the host of a test would ask a vendor. */
function withoutKeys(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { ANTHROPIC_API_KEY: _, OPENAI_API_KEY: __, GEMINI_API_KEY: ___, ...rest } = env;
  const { OLLAMA_HOST: ____, ...others } = rest;
  return others;
}

function testsIn(place: string): string[] {
  if (!statSync(place || '.').isDirectory()) return [place];
  const entries = readdirSync(place || '.', { recursive: true, encoding: 'utf8' });
  return entries
    .filter((entry) => entry.endsWith('.test.ts') && !entry.split('/').includes('node_modules'))
    .map((entry) => join(place, entry));
}

function isBelow(file: string, folders: readonly string[]): boolean {
  return folders.some((folder) => file.startsWith(`${folder}/`));
}

/** The source or test folder of a workspace; empty for a file that runs by itself. */
function folderOf(file: string): string {
  if (isBelow(file, APART)) return '';
  return file.split('/').slice(0, 3).join('/');
}

/** One process for the files of a folder: most of a small test is the loading of modules. */
function suiteOf(folder: string, among: readonly string[]): string {
  const suite = join(suites, `${folder.replaceAll('/', '.')}.test.mjs`);
  const imports = among.map((file) => `import '${pathToFileURL(resolve(file)).href}';\n`);
  writeFileSync(suite, imports.join(''));
  return suite;
}
