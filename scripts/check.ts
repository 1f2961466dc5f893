// Every check that needs no running system. Runs all of them, so that one run reports everything.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { latestRelease } from './releases.ts';

interface Check {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly mend?: string;
}

const KNIP_OUTPUT = ['--no-progress', '--no-config-hints', '--no-tag-hints'];

/** Scripts of a browser, so they have other globals. */
const CONSOLE = 'services/model-host/src/adapters/console';

const generated = mkdtempSync(join(tmpdir(), 'zl-generated-'));

const checks: readonly Check[] = [
  {
    name: 'format and lint',
    command: 'biome',
    args: ['ci', '--colors=off', '.'],
    mend: 'biome check --write .',
  },
  { name: 'types', command: 'tsc', args: ['-p', '.'] },
  { name: 'types of the console', command: 'tsc', args: ['-p', CONSOLE] },
  {
    name: 'no unused files, exports or dependencies',
    command: 'knip',
    args: ['--include-entry-exports', ...KNIP_OUTPUT],
  },
  {
    name: 'no exports for tests only',
    command: 'knip',
    args: ['--production', '--include', 'files,exports', ...KNIP_OUTPUT],
  },
  { name: 'contracts', command: 'buf', args: ['lint'] },
  ...releaseChecks(),
  {
    name: 'generate',
    command: 'buf',
    args: ['generate', '--output', generated],
  },
  {
    name: 'generated code is current',
    command: 'diff',
    args: ['-r', join(generated, 'packages/proto/gen'), 'packages/proto/gen'],
    mend: 'make generate',
  },
  {
    name: 'types of the JSON Schemas are current',
    command: process.execPath,
    args: ['scripts/schema-types.ts', '--check'],
    mend: 'make generate',
  },
  {
    name: 'error catalogue page is current',
    command: process.execPath,
    args: ['scripts/errors-page.ts', '--check'],
    mend: 'make generate',
  },
  {
    name: 'metrics page is current',
    command: process.execPath,
    args: ['scripts/metrics-page.ts', '--check'],
    mend: 'make generate',
  },
  {
    name: 'requirements page is current',
    command: process.execPath,
    args: ['scripts/requirements-page.ts', '--check'],
    mend: 'make generate',
  },
  {
    name: 'lockfile names no address',
    command: 'sh',
    args: ['-c', `! grep -nE '"resolved": "https?:' package-lock.json`],
    mend: 'npm install (with the .npmrc of this folder)',
  },
];

/** Compares with the latest release, once there is one. */
function releaseChecks(): readonly Check[] {
  if (!existsSync('releases')) return [];
  const release = latestRelease();
  return [
    {
      name: `wire messages break nothing of ${release}`,
      command: 'buf',
      args: ['breaking', '--against', join(release, 'proto.binpb')],
    },
    {
      name: `schemas, metrics and error ids break nothing of ${release}`,
      command: process.execPath,
      args: ['scripts/release-check.ts'],
    },
  ];
}

/** What a formatter has to say of a whole project. */
const MAX_BUFFER_BYTES = 64 * 1024 * 1024;

function passes({ name, command, args, mend }: Check): boolean {
  const ran = spawnSync(command, args, { encoding: 'utf8', maxBuffer: MAX_BUFFER_BYTES });
  const { status, stdout, stderr, error } = ran;
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name}`);
  if (status === 0) return true;
  // A program that is not there has said nothing.
  console.log(error === undefined ? stdout + stderr : error.message);
  if (mend !== undefined) console.log(`mend it with: ${mend}`);
  return false;
}

const failed = checks.filter((check) => !passes(check));
rmSync(generated, { recursive: true });
process.exitCode = failed.length === 0 ? 0 : 1;
