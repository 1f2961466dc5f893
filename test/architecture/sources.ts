import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

export interface Source {
  readonly path: string;
  /** Without comments. */
  readonly text: string;
  readonly lines: number;
  readonly imports: readonly string[];
  /** Without type-only imports. */
  readonly runtimeImports: readonly string[];
  /** Without import(). */
  readonly staticImports: readonly string[];
}

const IMPORT_PATTERN =
  /(?:^|\n)\s*(?:import|export)\s+(?<type>type\s)?[^'"]*?from\s+'(?<from>[^']+)'|\bimport\('(?<lazy>[^']+)'\)|(?:^|\n)import\s+'(?<bare>[^']+)'/g;
const COMMENT_PATTERN = /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm;

/** Every TypeScript file we wrote, tracked or not yet. */
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
  const found = [...text.matchAll(IMPORT_PATTERN)].map(({ groups = {} }) => ({
    specifier: groups.from ?? groups.lazy ?? groups.bare ?? '',
    isType: groups.type !== undefined,
    isLazy: groups.lazy !== undefined,
  }));
  return {
    path,
    text: text.replaceAll(COMMENT_PATTERN, ''),
    lines: text.split('\n').length - 1,
    imports: found.map(({ specifier }) => specifier),
    runtimeImports: found.filter(({ isType }) => !isType).map(({ specifier }) => specifier),
    staticImports: found.filter(({ isLazy }) => !isLazy).map(({ specifier }) => specifier),
  };
}

export function isTest(source: Source): boolean {
  return source.path.endsWith('.test.ts') || /(^|\/)test\//.test(source.path);
}

/** The file that a relative import names; undefined for a package. */
export function resolveImport(from: Source, specifier: string): string | undefined {
  return specifier.startsWith('.') ? normalize(join(dirname(from.path), specifier)) : undefined;
}
