import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { childSchema, dereference, type JsonSchema } from './json-schema.ts';
import { suggestion } from './problems.ts';
import type { Tree } from './settings.ts';
import { isBytes, isDuration } from './units.ts';

export interface Problem {
  readonly path: readonly string[];
  readonly text: string;
}

/** Fills in defaults, and gives everything that is wrong. */
export function validate(schema: JsonSchema, tree: Tree): Problem[] {
  const ajv = new Ajv2020({ allErrors: true, useDefaults: true, strict: true });
  formats.default(ajv, ['uri', 'hostname', 'ipv4', 'ipv6', 'email', 'regex']);
  ajv.addFormat('duration', isDuration);
  ajv.addFormat('bytes', isBytes);
  ajv.addKeyword({ keyword: 'x-secret', schemaType: 'boolean' });
  const check = ajv.compile(withObjectDefaults(schema));
  if (check(tree)) return [];
  return (check.errors ?? []).map((error) => problemOf(error, schema));
}

/**
 * ajv applies defaults only in objects that are there, so an object that may
 * be left out is by default an empty one.
 */
function withObjectDefaults(schema: JsonSchema): JsonSchema {
  const inner = (children: Readonly<Record<string, JsonSchema>> | undefined) =>
    children &&
    Object.fromEntries(
      Object.entries(children).map(([name, child]) => [name, withObjectDefaults(child)]),
    );
  const { properties, $defs } = schema;
  const optional = Object.entries(inner(properties) ?? {}).map(([name, child]) => {
    const filled = hasDefaults(child) && !isRequired(schema, name);
    return [name, filled ? { default: {}, ...child } : child];
  });
  return {
    ...schema,
    ...($defs === undefined ? {} : { $defs: inner($defs) }),
    ...(properties === undefined ? {} : { properties: Object.fromEntries(optional) }),
  };
}

function isRequired({ required }: JsonSchema, name: string): boolean {
  return Array.isArray(required) && required.includes(name);
}

/** An object that can be empty in the file and still say something. */
function hasDefaults(schema: JsonSchema): boolean {
  const { properties = {}, required } = schema;
  const demands = Array.isArray(required) && required.length > 0;
  return !demands && Object.values(properties).some((child) => child.default !== undefined);
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
  if (format === 'duration') return 'must be a duration such as 250ms, 10s or 5m';
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
