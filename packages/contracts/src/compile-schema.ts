import { ZlError } from '@zerolatency/errors';
import { MAX_VALUE_DEPTH } from '@zerolatency/signing';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { type FieldError, fieldErrorOf } from './field-error.ts';
import { patternCost } from './pattern-cost.ts';
import { refuseCostlySchema } from './schema-limits.ts';

export type Validation<T> =
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: FieldError };

export interface Validator<T = unknown> {
  /** Never changes the value, never throws, takes any JSON. */
  validate(value: unknown): Validation<T>;
}

const ajv = new Ajv2020({
  strict: true,
  allowUnionTypes: true,
  // A condition requires fields that the schema around it defines.
  strictRequired: false,
  messages: true,
  // Each is compiled for one owner; a cache would only grow with every device's catalog.
  addUsedSchema: false,
  code: { regExp: boundedRegExp },
});
// In full mode these are functions or bounded expressions; the rest in fast mode are linear.
formats.default(ajv, {
  mode: 'full',
  formats: ['date-time', 'date', 'time', 'duration', 'uuid', 'ipv4', 'ipv6', 'hostname'],
});
formats.default(ajv, { mode: 'fast', formats: ['uri', 'email'] });

/** Compiles JSON Schema 2020-12, and refuses what could be costly to check. */
export function compileSchema<T = unknown>(schema: unknown): Validator<T> {
  refuseCostlySchema(schema);
  const check = compile(schema as object | boolean);
  return {
    validate(value) {
      if (isDeeperThan(value, MAX_VALUE_DEPTH)) {
        return {
          error: { field: '', message: `the value is nested deeper than ${MAX_VALUE_DEPTH}` },
        };
      }
      // The schema is what says that the value is a T.
      return check(value) ? { value: value as T } : { error: fieldErrorOf(check.errors ?? []) };
    },
  };
}

function compile(schema: object | boolean) {
  try {
    return ajv.compile(schema);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'cannot be compiled';
    throw new ZlError('config.invalid', `schema is not valid: ${why}`, { cause });
  } finally {
    if (typeof schema === 'object') ajv.removeSchema(schema);
  }
}

/** A text longer than a pattern can be tried on within its bound does not match it. */
function boundedRegExp(source: string) {
  const expression = new RegExp(source, 'u');
  const { maxTextChars = 0 } = patternCost(source);
  return {
    test: (text: string) => text.length <= maxTextChars && expression.test(text),
    // Ajv tells expressions apart by their text.
    toString: () => source,
  };
}
boundedRegExp.code = 'new RegExp';

function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  const members = Array.isArray(value) ? value : Object.values(value);
  return members.some((member) => isDeeperThan(member, levels - 1));
}
