import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { rcompare } from 'semver';

const RELEASES = 'releases';

export function releaseFolder(version: string): string {
  return join(RELEASES, `v${version}`);
}

/** The folder of the newest release. */
export function latestRelease(): string {
  const versions = readdirSync(RELEASES)
    .filter((name) => /^v\d+\.\d+\.\d+$/.test(name))
    .map((name) => name.slice(1));
  const [newest] = versions.sort(rcompare);
  if (newest === undefined) throw new Error(`${RELEASES}/ holds no release`);
  return releaseFolder(newest);
}
