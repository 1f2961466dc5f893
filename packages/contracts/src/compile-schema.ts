import { ZlError } from '@zerolatency/errors';
import { MAX_VALUE_DEPTH } from '@zerolatency/signing';
import { Ajv, type Options } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats, { type FormatName } from 'ajv-formats';
import { readCatalogSchema } from './catalog-schema.ts';
import { type FieldError, fieldErrorOf } from './field-error.ts';
import type { LinearPattern } from './linear-pattern.ts';
import { boundSchema, refuseLargeSchema, type SchemaBounds } from './schema-limits.ts';

export type Validation<T> =
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: FieldError };

export interface Validator<T = unknown> {
  /** Never changes the value and never throws, whatever JSON it is given. */
  validate(value: unknown): Validation<T>;
}

/**
 * `built-in` is part of this program, so its patterns need no bound and run on
 * the engine of the runtime. `contract` is a file that an operator installs: a
 * typing error in it is refused. `catalog` comes with a device: what we do not
 * know in it is ignored, as JSON Schema asks.
 */
export type SchemaOrigin = 'built-in' | 'contract' | 'catalog';

// In full mode these are functions or bounded expressions; the others in fast mode are linear.
const FULL_FORMATS: FormatName[] = [
  'date-time',
  'date',
  'time',
  'duration',
  'uuid',
  'ipv4',
  'ipv6',
  'hostname',
];
const FAST_FORMATS: FormatName[] = ['uri', 'email'];
const KNOWN_FORMATS: ReadonlySet<string> = new Set([...FULL_FORMATS, ...FAST_FORMATS]);

/** Only validates schemas; each schema is compiled by an instance of its own, which can be freed. */
const metaSchemas = {
  'draft-07': memoised(() => {
    const ajv = new Ajv({ strict: false, logger: false });
    // It compares the members of an enum pair by pair; later drafts leave that out too.
    ajv.removeKeyword('uniqueItems');
    return ajv;
  }),
  '2020-12': memoised(() => new Ajv2020({ strict: false, logger: false })),
};

const STRICT: Options = {
  strict: true,
  allowUnionTypes: true,
  // A condition requires fields that the schema around it defines.
  strictRequired: false,
};

const OPTIONS: Record<SchemaOrigin, Options> = {
  'built-in': STRICT,
  contract: STRICT,
  catalog: { strict: false },
};

/** Added to schemas that refer to themselves: how many subschemas they have. */
const COST = 'x-cost';

/** A fraction of a second. A schema that refers to itself twice doubles its work at each level of a value. */
const MAX_RECURSIVE_STEPS = 2 ** 22;

/** A schema that may be compiled. */
export interface PreparedSchema<T = unknown> {
  /** What its patterns cost to prepare, in instructions. */
  readonly patternsSize: number;
  /** Slow: it generates code. */
  compile(): Validator<T>;
}

/** Compiles a JSON Schema, and refuses one that could be costly to check. */
export function compileSchema<T = unknown>(schema: unknown, origin: SchemaOrigin): Validator<T> {
  return prepareSchema<T>(schema, origin).compile();
}

/** Refuses the same schemas as compileSchema, in a small part of its time. */
export function prepareSchema<T = unknown>(
  given: unknown,
  origin: SchemaOrigin,
): PreparedSchema<T> {
  refuseLargeSchema(given);
  const isCatalog = origin === 'catalog';
  const { schema, draft } = isCatalog
    ? readCatalogSchema(given, KNOWN_FORMATS)
    : { schema: given, draft: '2020-12' as const };
  const bounds = origin === 'built-in' ? undefined : boundSchema(schema, origin);
  if (!isSchema(schema)) throw invalid('it must be an object or a boolean');
  // Compiling the meta-schema takes a start longer than all schemas of the program.
  if (origin !== 'built-in') checkSchema(schema, draft);
  // The catalog reader has made a copy, without any such keyword.
  for (const [target, size] of bounds?.recursive ?? []) Object.assign(target, { [COST]: size });
  return {
    patternsSize: bounds?.patternsSize ?? 0,
    compile: () => compile(schema, { draft, origin, bounds }),
  };
}

interface CompileOptions {
  readonly draft: keyof typeof metaSchemas;
  readonly origin: SchemaOrigin;
  readonly bounds: SchemaBounds | undefined;
}

function compile<T>(
  schema: object | boolean,
  { draft, origin, bounds }: CompileOptions,
): Validator<T> {
  const options: Options = {
    ...OPTIONS[origin],
    logger: false,
    meta: false,
    validateSchema: false,
    ...(bounds !== undefined && {
      // Compiling is to take the time that the number of keywords tells.
      inlineRefs: false,
      loopRequired: 1,
      loopEnum: 1,
      code: { regExp: linearEngine(bounds.patterns), optimize: false },
    }),
  };
  const ajv = draft === 'draft-07' ? new Ajv(options) : new Ajv2020(options);
  formats.default(ajv, { mode: 'full', formats: FULL_FORMATS });
  formats.default(ajv, { mode: 'fast', formats: FAST_FORMATS });
  let stepsLeft = 0;
  if (bounds !== undefined && bounds.recursive.size > 0) {
    const spend = (size: number, value: unknown) => {
      stepsLeft -= size * weightOf(value);
      if (stepsLeft < 0) throw new TooCostly();
      return true;
    };
    // Ahead of everything that could fail and leave the cost of a branch uncounted.
    ajv.addKeyword({ keyword: COST, before: '$ref', validate: spend, errors: false });
  }
  const check = orInvalid(() => ajv.compile(schema));
  return {
    validate(value) {
      if (isDeeperThan(value, MAX_VALUE_DEPTH)) {
        return refused(`is nested deeper than ${MAX_VALUE_DEPTH} levels`);
      }
      stepsLeft = MAX_RECURSIVE_STEPS;
      try {
        // The schema says that the value is a T.
        return check(value) ? { value: value as T } : { error: fieldErrorOf(check.errors ?? []) };
      } catch (reason) {
        if (!(reason instanceof TooCostly)) throw reason;
        return refused('is too large for a schema that refers to itself');
      }
    },
  };
}

/** Against the meta-schema of its draft. */
function checkSchema(schema: object | boolean, draft: keyof typeof metaSchemas): void {
  const meta = metaSchemas[draft]();
  if (orInvalid(() => meta.validateSchema(schema)) !== true) throw invalid(meta.errorsText());
}

function memoised<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

function orInvalid<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : 'it cannot be compiled', cause);
  }
}

function refused(why: string): { error: FieldError } {
  return { error: { field: '', message: `the value ${why}` } };
}

function invalid(why: string, cause?: unknown): ZlError {
  return new ZlError('config.invalid', `schema is not valid: ${why}`, { cause });
}

class TooCostly extends Error {}

/** About how many steps one subschema can take on a value; a text is matched by patterns. */
function weightOf(value: unknown): number {
  if (typeof value === 'string') return 1 + value.length / 16;
  if (typeof value !== 'object' || value === null) return 1;
  let weight = 1;
  for (const [name, member] of Object.entries(value)) weight += weightOf(member) + name.length / 16;
  return weight;
}

function linearEngine(patterns: SchemaBounds['patterns']) {
  const engine = (source: string): LinearPattern => {
    const pattern = patterns.get(source);
    if (pattern === undefined) throw new Error(`pattern ${source} is not part of a schema`);
    return pattern;
  };
  return Object.assign(engine, { code: '' });
}

function isSchema(value: unknown): value is object | boolean {
  return (typeof value === 'object' && value !== null) || typeof value === 'boolean';
}

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  const members = Array.isArray(value) ? value : Object.values(value);
  return members.some((member) => isDeeperThan(member, levels - 1));
}
