import { ZlError } from '@zerolatency/errors';
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { closest, distance } from 'fastest-levenshtein';
import type { Tree } from './layers.ts';
import { childSchema, dereference, type JsonSchema, prepareSchema } from './schema.ts';
import { DURATION_HINT, isBytes, isDuration } from './units.ts';

export interface Problem {
  readonly path: readonly string[];
  readonly text: string;
}

/** Fills in defaults and returns every problem. */
export function validate(schema: JsonSchema, tree: Tree): Problem[] {
  const ajv = new Ajv2020({
    allErrors: true,
    useDefaults: true,
    strict: true,
    allowUnionTypes: true,
    // Our own schemas, which a test holds against that of schemas: every start would pay for it.
    validateSchema: false,
  });
  formats.default(ajv, ['uri', 'hostname', 'ipv4', 'ipv6', 'email', 'regex']);
  ajv.addFormat('duration', isDuration);
  ajv.addFormat('bytes', isBytes);
  ajv.addKeyword({ keyword: 'x-secret', schemaType: 'boolean' });
  const check = ajv.compile(prepareSchema(schema));
  if (check(tree)) return [];
  return (check.errors ?? []).map((error) => problemOf(error, schema));
}

function problemOf(error: ErrorObject, root: JsonSchema): Problem {
  const path = error.instancePath.split('/').slice(1).map(unescapePointer);
  if (error.keyword === 'additionalProperties') {
    const name = String(error.params.additionalProperty);
    const parent = schemaAt(path, root);
    const known = Object.keys(parent?.properties ?? {});
    return { path: [...path, name], text: `is not a setting.${suggestion(name, known)}` };
  }
  if (error.keyword === 'required') {
    const name = String(error.params.missingProperty);
    return { path: [...path, name], text: 'is missing' };
  }
  if (error.keyword === 'enum') {
    const allowed: unknown = error.params.allowedValues;
    return { path, text: `must be one of ${JSON.stringify(allowed)}` };
  }
  if (error.keyword === 'format') return { path, text: formatHint(String(error.params.format)) };
  return { path, text: error.message ?? 'is not valid' };
}

function formatHint(format: string): string {
  if (format === 'duration') return `must be ${DURATION_HINT}`;
  if (format === 'bytes') return 'must be a size such as 512, 64KiB or 1MiB';
  return `must be a valid ${format}`;
}

function schemaAt(path: readonly string[], root: JsonSchema): JsonSchema | undefined {
  return path.reduce<JsonSchema | undefined>(
    (schema, name) => childSchema(schema, name, root),
    dereference(root, root),
  );
}

function unescapePointer(name: string): string {
  return name.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** A more distant suggestion does not help; two swapped letters always count as near. */
const MAX_DISTANCE_RATIO = 0.4;
const MIN_DISTANCE = 2;

/** Collects every mistake in a configuration, so that one run reports all of them. */
export class Problems {
  readonly #lines: string[] = [];

  add(line: string): void {
    this.#lines.push(line);
  }

  throwIfAny(): void {
    if (this.#lines.length === 0) return;
    throw new ZlError('config.invalid', this.#lines.join('\n'));
  }
}

/** ' Did you mean "x"?', or nothing when no name is near. */
export function suggestion(unknown: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const nearest = closest(unknown, known);
  const far =
    distance(unknown, nearest) > Math.max(MIN_DISTANCE, unknown.length * MAX_DISTANCE_RATIO);
  return far ? '' : ` Did you mean "${nearest}"?`;
}
