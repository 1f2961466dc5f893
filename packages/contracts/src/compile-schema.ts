import { ZlError } from '@zerolatency/errors';
import { MAX_VALUE_DEPTH } from '@zerolatency/signing';
import { Ajv, type Options } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats, { type FormatName } from 'ajv-formats';
import { readCatalogSchema } from './catalog-schema.ts';
import { type FieldError, fieldErrorOf } from './field-error.ts';
import type { LinearPattern } from './linear-pattern.ts';
import { boundSchema, type Patterns, refuseLargeSchema } from './schema-limits.ts';

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
const META_SCHEMAS = {
  'draft-07': new Ajv({ strict: false, logger: false }),
  '2020-12': new Ajv2020({ strict: false, logger: false }),
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

/** Compiles a JSON Schema, and refuses one that could be costly to check. */
export function compileSchema<T = unknown>(schema: unknown, origin: SchemaOrigin): Validator<T> {
  refuseLargeSchema(schema);
  const check = compile(schema, origin);
  return {
    validate(value) {
      if (isDeeperThan(value, MAX_VALUE_DEPTH)) {
        const message = `the value is nested deeper than ${MAX_VALUE_DEPTH} levels`;
        return { error: { field: '', message } };
      }
      // The schema says that the value is a T.
      return check(value) ? { value: value as T } : { error: fieldErrorOf(check.errors ?? []) };
    },
  };
}

function compile(given: unknown, origin: SchemaOrigin) {
  const { schema, draft } =
    origin === 'catalog'
      ? readCatalogSchema(given, KNOWN_FORMATS)
      : { schema: given, draft: '2020-12' as const };
  const patterns = origin === 'built-in' ? undefined : boundSchema(schema);
  try {
    if (!isSchema(schema)) throw new Error('it must be an object or a boolean');
    const meta = META_SCHEMAS[draft];
    if (meta.validateSchema(schema) !== true) throw new Error(meta.errorsText());
    const options: Options = {
      ...OPTIONS[origin],
      logger: false,
      meta: false,
      validateSchema: false,
      ...(patterns !== undefined && { code: { regExp: linearEngine(patterns) } }),
    };
    const ajv = draft === 'draft-07' ? new Ajv(options) : new Ajv2020(options);
    formats.default(ajv, { mode: 'full', formats: FULL_FORMATS });
    formats.default(ajv, { mode: 'fast', formats: FAST_FORMATS });
    return ajv.compile(schema);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'it cannot be compiled';
    throw new ZlError('config.invalid', `schema is not valid: ${why}`, { cause });
  }
}

function linearEngine(patterns: Patterns) {
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
