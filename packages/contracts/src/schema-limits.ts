import { ZlError } from '@zerolatency/errors';
import { canonicalJson } from '@zerolatency/signing';
import { compilePattern, type LinearPattern } from './linear-pattern.ts';

/** A schema is shown to a model and compiled to code, so it should stay small. */
const MAX_SCHEMA_BYTES = 128 * 1024;
const MAX_SCHEMA_DEPTH = 32;
const MAX_SCHEMA_KEYWORDS = 4_000;

/**
 * Subschemas when every reference is expanded: a short chain of references
 * that doubles at each link would take forever to check.
 */
const MAX_EXPANDED_SUBSCHEMAS = 10_000;

/** Items other than scalars are compared with each other, so the work is the square of this. */
export const MAX_UNIQUE_ITEMS = 1_000;

/** Instructions of all patterns together; compiling so many takes a fraction of a second. */
const MAX_PATTERNS_SIZE = 10_000;

export type Schema = Readonly<Record<string, unknown>>;
export type Patterns = ReadonlyMap<string, LinearPattern>;

export const ONE = [
  'additionalItems',
  'additionalProperties',
  'contains',
  'else',
  'if',
  'items',
  'not',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties',
];
// Before 2020-12, items could be a list.
export const LIST = ['allOf', 'anyOf', 'items', 'oneOf', 'prefixItems'];
// Ajv still applies dependencies, which 2020-12 no longer has.
export const BY_NAME = ['dependencies', 'dependentSchemas', 'patternProperties', 'properties'];
export const DEFINITIONS = ['$defs', 'definitions'];

const SCALARS = new Set<unknown>(['boolean', 'integer', 'null', 'number', 'string']);

/** They make the meaning of a schema depend on more than its own text. */
const REFUSED_KEYWORDS = ['$async', '$anchor', '$dynamicAnchor', '$dynamicRef', '$recursiveRef'];

export function refuseLargeSchema(schema: unknown): void {
  const { byteLength } = canonicalJson(schema);
  if (byteLength > MAX_SCHEMA_BYTES) refuse('', `is larger than ${MAX_SCHEMA_BYTES} bytes`);
}

/** Refuses a schema whose validation could cost more than a caller would expect; returns its patterns. */
export function boundSchema(schema: unknown): Patterns {
  const walk = new Walk(schema);
  walk.check(schema, '', 0);
  walk.expandedSize(schema, '');
  return walk.patterns;
}

class Walk {
  readonly patterns = new Map<string, LinearPattern>();
  readonly #root: unknown;
  readonly #sizes = new Map<unknown, number | 'open'>();
  readonly #checked = new Set<unknown>();
  #keywords = 0;
  #patternsSize = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  check(schema: unknown, path: string, depth: number): void {
    if (!isSchemaObject(schema)) return;
    if (depth > MAX_SCHEMA_DEPTH) refuse(path, `is nested deeper than ${MAX_SCHEMA_DEPTH} levels`);
    this.#keywords += Object.keys(schema).length;
    if (this.#keywords > MAX_SCHEMA_KEYWORDS) {
      refuse('', `has more than ${MAX_SCHEMA_KEYWORDS} keywords`);
    }
    this.#checked.add(schema);
    checkKeywords(schema, path);
    this.#compilePatterns(schema, path);
    for (const [child, at] of [...applied(schema), ...definitions(schema)]) {
      this.check(child, path + at, depth + 1);
    }
  }

  #compilePatterns(schema: Schema, path: string): void {
    if (typeof schema.pattern === 'string') this.#compile(schema.pattern, `${path}/pattern`);
    if (!isSchemaObject(schema.patternProperties)) return;
    for (const pattern of Object.keys(schema.patternProperties)) {
      this.#compile(pattern, `${path}/patternProperties`);
    }
  }

  #compile(source: string, path: string): void {
    if (this.patterns.has(source)) return;
    const { value, error } = compilePattern(source);
    if (error !== undefined) refuse(path, error);
    this.#patternsSize += value.size;
    if (this.#patternsSize > MAX_PATTERNS_SIZE) refuse(path, 'is one pattern too many');
    this.patterns.set(source, value);
  }

  expandedSize(schema: unknown, path: string): number {
    if (!isSchemaObject(schema)) return 1;
    const known = this.#sizes.get(schema);
    if (known === 'open') refuse(path, 'refers to itself, so its cost has no bound');
    if (known !== undefined) return known;
    this.#sizes.set(schema, 'open');
    let size = 1;
    for (const [child, at] of applied(schema)) size += this.expandedSize(child, path + at);
    if (typeof schema.$ref === 'string') {
      size += this.expandedSize(this.#target(schema.$ref, path), schema.$ref.slice(1));
    }
    if (size > MAX_EXPANDED_SUBSCHEMAS) {
      refuse(path, `expands to more than ${MAX_EXPANDED_SUBSCHEMAS} subschemas`);
    }
    this.#sizes.set(schema, size);
    return size;
  }

  #target(reference: string, path: string): unknown {
    let target = this.#root;
    for (const part of reference.split('/').slice(1)) {
      const name = decodePointer(part);
      const isThere = isSchemaObject(target) && Object.hasOwn(target, name);
      const isItem = Array.isArray(target) && /^\d+$/.test(name);
      if (!isThere && !isItem) refuse(path, `refers to ${reference}, which does not exist`);
      target = (target as Schema)[name];
    }
    // What stands elsewhere, as in an enum, was not checked.
    if (isSchemaObject(target) && !this.#checked.has(target)) {
      refuse(path, `refers to ${reference}, which is not a schema`);
    }
    return target;
  }
}

function checkKeywords(schema: Schema, path: string): void {
  for (const keyword of REFUSED_KEYWORDS) {
    if (Object.hasOwn(schema, keyword)) refuse(path, `uses ${keyword}, which is not supported`);
  }
  if (path !== '' && schema.$id !== undefined) refuse(path, 'has an $id of its own');
  if (schema.$ref !== undefined && !/^#(\/|$)/.test(String(schema.$ref))) {
    refuse(path, `refers to ${String(schema.$ref)}; only #/... inside the schema is allowed`);
  }
  const isBounded = hasScalarItems(schema) || Number(schema.maxItems) <= MAX_UNIQUE_ITEMS;
  if (schema.uniqueItems === true && !isBounded) {
    refuse(path, `has uniqueItems without maxItems of at most ${MAX_UNIQUE_ITEMS}`);
  }
}

/** Ajv finds equal scalars with a table; it compares anything else pair by pair. */
export function hasScalarItems({ items }: Schema): boolean {
  if (!isSchemaObject(items)) return false;
  const types = Array.isArray(items.type) ? items.type : [items.type];
  return types.length > 0 && types.every((type) => SCALARS.has(type));
}

type Child = readonly [schema: unknown, at: string];

function applied(schema: Schema): Child[] {
  return [
    ...ONE.filter((key) => Object.hasOwn(schema, key)).map(
      (key): Child => [schema[key], `/${key}`],
    ),
    ...LIST.flatMap((key) => (Array.isArray(schema[key]) ? entries(schema[key], `/${key}`) : [])),
    ...BY_NAME.flatMap((key) => entries(schema[key], `/${key}`)),
  ];
}

function definitions(schema: Schema): Child[] {
  return DEFINITIONS.flatMap((key) => entries(schema[key], `/${key}`));
}

function entries(container: unknown, path: string): Child[] {
  if (typeof container !== 'object' || container === null) return [];
  return Object.entries(container).map(([name, child]) => [child, `${path}/${name}`]);
}

function decodePointer(part: string): string {
  return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
}

export function isSchemaObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(path: string, why: string): never {
  throw new ZlError('config.invalid', `schema${path === '' ? '' : ` at ${path}`} ${why}`);
}
