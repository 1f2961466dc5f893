import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Teardown {
  after(fn: () => unknown): void;
}

/** A new directory without symbolic links in its path, removed after the test. */
export function tempDir(t: Teardown): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'zl-test-')));
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}
