import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ZlError } from '@zerolatency/errors';
import { compileSchema, type Validator } from './compile-schema.ts';

export interface ToolManifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly effects: 'none' | 'local' | 'external';
  /** Arguments that are paths; a relative one starts at the server's first root. */
  readonly paths?: readonly string[];
  readonly capabilities: readonly string[];
}

export interface ToolContract {
  /** Server and tool, such as fs.read. */
  readonly name: string;
  /** Semantic version. */
  readonly version: string;
  readonly manifest: ToolManifest;
  readonly args: Validator;
  readonly result: Validator;
  /** The schemas as written, for models. */
  readonly argsSchema: unknown;
  readonly resultSchema: unknown;
}

export interface ToolContracts {
  /** Returns the given major version, or the newest one. */
  find(name: string, major?: number): ToolContract | undefined;
  readonly all: readonly ToolContract[];
}

/** Reads <dir>/<name>/v<major>/{manifest.json,args.schema.json,result.schema.json}. */
export function loadToolContracts(dir: string): ToolContracts {
  const manifests = compileSchema<ToolManifest>(
    readJson(join(dir, 'manifest.schema.json')),
    'contract',
  );
  const byName = new Map<string, Map<number, ToolContract>>();
  for (const name of folders(dir)) {
    const majors = new Map<number, ToolContract>();
    for (const version of folders(join(dir, name))) {
      const major = majorOf(join(dir, name), version);
      majors.set(major, loadContract(join(dir, name, version), { name, major, manifests }));
    }
    byName.set(name, majors);
  }
  return {
    all: [...byName.values()].flatMap((majors) => [...majors.values()]),
    find(name, major) {
      const majors = byName.get(name);
      return majors?.get(major ?? Math.max(...majors.keys()));
    },
  };
}

function loadContract(
  dir: string,
  expected: { name: string; major: number; manifests: Validator<ToolManifest> },
): ToolContract {
  const { value: manifest, error } = expected.manifests.validate(
    readJson(join(dir, 'manifest.json')),
  );
  if (error !== undefined) throw invalid(join(dir, 'manifest.json'), error.message);
  const { name, version } = manifest;
  if (name !== expected.name) throw invalid(dir, `manifest.json names ${name}`);
  if (!version.startsWith(`${expected.major}.`)) throw invalid(dir, `manifest.json is ${version}`);
  const argsSchema = readJson(join(dir, 'args.schema.json'));
  const resultSchema = readJson(join(dir, 'result.schema.json'));
  const args = compileFile(join(dir, 'args.schema.json'), argsSchema);
  const result = compileFile(join(dir, 'result.schema.json'), resultSchema);
  return { name, version, manifest, args, result, argsSchema, resultSchema };
}

function compileFile(path: string, schema: unknown): Validator {
  try {
    return compileSchema(schema, 'contract');
  } catch (cause) {
    throw invalid(path, cause instanceof Error ? cause.message : 'cannot be compiled', cause);
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw invalid(path, 'is missing or is not JSON', cause);
  }
}

function folders(dir: string): string[] {
  try {
    const entries = readdirSync(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (cause) {
    throw invalid(dir, 'cannot be read', cause);
  }
}

function majorOf(dir: string, folder: string): number {
  const found = /^v(0|[1-9]\d{0,5})$/.exec(folder);
  if (found === null) throw invalid(join(dir, folder), 'is not named v<major>');
  return Number(found[1]);
}

function invalid(path: string, why: string, cause?: unknown): ZlError {
  return new ZlError('config.invalid', `tool contract ${path}: ${why}`, { cause });
}
