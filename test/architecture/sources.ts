import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface Source {
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  readonly imports: readonly string[];
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+'([^']+)'|\bimport\('([^']+)'\)|(?:^|\n)import\s+'([^']+)'/g;

/** Every TypeScript file we wrote, tracked or about to be. */
export function readSources(): readonly Source[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.ts'], {
    encoding: 'utf8',
  });
  return listed
    .split('\n')
    .filter((path) => path !== '' && !path.endsWith('.d.ts') && existsSync(path))
    .map((path) => readSource(path));
}

function readSource(path: string): Source {
  const text = readFileSync(path, 'utf8');
  const imports = [...text.matchAll(importPattern)].map((m) => m[1] ?? m[2] ?? m[3] ?? '');
  return { path, text, lines: text.split('\n').length - 1, imports };
}

export function isTest(source: Source): boolean {
  return source.path.endsWith('.test.ts') || /(^|\/)test\//.test(source.path);
}

/** The file a relative import names; undefined for a package. */
export function resolveImport(from: Source, specifier: string): string | undefined {
  return specifier.startsWith('.') ? normalize(join(dirname(from.path), specifier)) : undefined;
}
