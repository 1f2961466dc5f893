import { ZlError } from '@zerolatency/errors';
import { canonicalJson } from '@zerolatency/signing';
import { compilePattern, type LinearPattern } from './linear-pattern.ts';

/** A schema is shown to a model and compiled to code, so it should stay small. */
const MAX_SCHEMA_BYTES = 128 * 1024;
const MAX_SCHEMA_DEPTH = 32;
/**
 * Subschemas and keywords, for which Ajv writes code, in a time that grows with their square. This
 * many take a few tenths of a second at most.
 */
const MAX_CATALOG_PARTS = 1_000;
/** An operator's own schemas are compiled at the start. 6,000 parts and more may overflow the stack. */
const MAX_CONTRACT_PARTS = 8_000;

/**
 * Subschemas when every reference is expanded: a short chain of references
 * that doubles at each link would take forever to check.
 */
const MAX_EXPANDED_SUBSCHEMAS = 10_000;

/** Items other than scalars are compared with each other, so the work is the square of this. */
export const MAX_UNIQUE_ITEMS = 1_000;
/** Comparing that many items takes longer than this many subschemas. */
const UNIQUE_ITEMS_COST = 100;

/** Instructions of all patterns together; compiling so many takes a fraction of a second. */
const MAX_PATTERNS_SIZE = 10_000;

export type Schema = Readonly<Record<string, unknown>>;

/** What is known about the cost of a schema before it is compiled. */
export interface SchemaBounds {
  readonly patterns: ReadonlyMap<string, LinearPattern>;
  /** Instructions of all patterns. */
  readonly patternsSize: number;
  /** Schemas that refer to themselves, with their subschemas; how often they apply depends on the value. */
  readonly recursive: ReadonlyMap<Schema, number>;
}

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

/** Refuses a schema whose validation could cost more than a caller would expect. */
export function boundSchema(schema: unknown, origin: 'contract' | 'catalog'): SchemaBounds {
  const walk = new Walk(schema, origin);
  walk.check(schema, '', 0);
  walk.expandedSize(schema, '');
  walk.refuseEndless();
  return walk;
}

class Walk implements SchemaBounds {
  readonly patterns = new Map<string, LinearPattern>();
  readonly recursive = new Map<Schema, number>();
  patternsSize = 0;
  readonly #root: unknown;
  readonly #mayRecurse: boolean;
  readonly #maxParts: number;
  readonly #sizes = new Map<unknown, number | 'open'>();
  /** Every schema, with its path. */
  readonly #checked = new Map<unknown, string>();
  #parts = 0;

  constructor(root: unknown, origin: 'contract' | 'catalog') {
    this.#root = root;
    this.#mayRecurse = origin === 'catalog';
    this.#maxParts = origin === 'catalog' ? MAX_CATALOG_PARTS : MAX_CONTRACT_PARTS;
  }

  check(schema: unknown, path: string, depth: number): void {
    this.#count(1);
    if (!isSchemaObject(schema)) return;
    if (depth > MAX_SCHEMA_DEPTH) refuse(path, `is nested deeper than ${MAX_SCHEMA_DEPTH} levels`);
    this.#count(Object.keys(schema).length + namesIn(schema));
    this.#checked.set(schema, path);
    checkKeywords(schema, path);
    this.#compilePatterns(schema, path);
    for (const [child, at] of [...applied(schema), ...definitions(schema)]) {
      this.check(child, path + at, depth + 1);
    }
  }

  #count(parts: number): void {
    this.#parts += parts;
    if (this.#parts <= this.#maxParts) return;
    refuse('', `has more than ${this.#maxParts} subschemas and keywords`);
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
    this.patternsSize += value.size;
    if (this.patternsSize > MAX_PATTERNS_SIZE) refuse(path, 'is one pattern too many');
    this.patterns.set(source, value);
  }

  expandedSize(schema: unknown, path: string): number {
    if (!isSchemaObject(schema)) return 1;
    const known = this.#sizes.get(schema);
    if (known === 'open') {
      if (!this.#mayRecurse) refuse(path, 'refers to itself, so its cost has no bound');
      this.recursive.set(schema, 1);
      return 1;
    }
    if (known !== undefined) return known;
    this.#sizes.set(schema, 'open');
    let size = schema.uniqueItems === true && !hasScalarItems(schema) ? UNIQUE_ITEMS_COST : 1;
    for (const [child, at] of this.#applied(schema, path)) size += this.expandedSize(child, at);
    if (size > MAX_EXPANDED_SUBSCHEMAS) {
      refuse(path, `expands to more than ${MAX_EXPANDED_SUBSCHEMAS} subschemas`);
    }
    this.#sizes.set(schema, size);
    if (this.recursive.has(schema)) this.recursive.set(schema, size);
    return size;
  }

  /** A schema that applies itself to the same value would never finish. */
  refuseEndless(): void {
    if (this.recursive.size === 0) return;
    const states = new Map<unknown, 'open' | 'done'>();
    const visit = (schema: unknown, path: string): void => {
      if (!isSchemaObject(schema) || states.get(schema) === 'done') return;
      if (states.has(schema)) refuse(path, 'refers to itself for the same value, without end');
      states.set(schema, 'open');
      for (const [child, at, isInPlace] of this.#applied(schema, path)) {
        if (isInPlace) visit(child, at);
      }
      states.set(schema, 'done');
    };
    for (const [schema, path] of this.#checked) visit(schema, path);
  }

  #applied(schema: Schema, path: string): Applied[] {
    const children = applied(schema).map(
      ([child, at]): Applied => [child, path + at, IN_PLACE.test(at)],
    );
    if (typeof schema.$ref !== 'string') return children;
    return [...children, [this.#target(schema.$ref, path), schema.$ref.slice(1), true]];
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

/** Ajv writes out a check for each of them, as for a keyword. */
function namesIn({ dependentRequired, dependencies, type }: Schema): number {
  const lists = [dependentRequired, dependencies].flatMap((names) => Object.values(names ?? {}));
  return [type, ...lists].reduce<number>(
    (sum, names) => sum + (Array.isArray(names) ? names.length : 0),
    0,
  );
}

type Child = readonly [schema: unknown, at: string];
type Applied = readonly [schema: unknown, path: string, isInPlace: boolean];

/** Keywords whose schemas apply to the value itself; those of the others apply to a part of it. */
const IN_PLACE = /^\/(?:allOf|anyOf|oneOf|not|if|then|else|dependencies|dependentSchemas)(?:\/|$)/;

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
