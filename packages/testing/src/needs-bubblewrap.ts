import { spawnSync } from 'node:child_process';

/** Where bubblewrap is installed but refuses to make a sandbox, such a test fails. */
export function needsBubblewrap(): { readonly skip: string | false } {
  const isMissing = spawnSync('bwrap', ['--version']).error !== undefined;
  return { skip: isMissing ? 'bubblewrap is not installed' : false };
}
