// Writes releases/v<version>/: what later versions are compared with, and the commit to rebuild its bundles from.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import manifest from '../package.json' with { type: 'json' };
import { CATALOGUE } from '../packages/errors/src/index.ts';
import { releaseFolder } from './releases.ts';

const { version } = manifest;
const folder = releaseFolder(version);

const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();

if (existsSync(folder))
  fail(`${folder} exists: a release is cut once; raise the version in package.json`);
if (git('status', '--porcelain') !== '')
  fail('commit first: a release names the commit it was cut from');

mkdirSync(folder, { recursive: true });
execFileSync('buf', ['build', '-o', join(folder, 'proto.binpb')]);
cpSync('contracts', join(folder, 'contracts'), {
  recursive: true,
  filter: (path) => !/\.(ts|js)$/.test(path),
});
writeJson('errors.json', CATALOGUE);
writeJson('release.json', { version, commit: git('rev-parse', 'HEAD') });
console.log(`${folder} is written; commit it`);

function writeJson(name: string, value: unknown): void {
  writeFileSync(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
