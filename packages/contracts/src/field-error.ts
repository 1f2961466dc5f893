import type { ErrorObject } from 'ajv';

/** Where and how a value breaks its schema, for a person who sees only the value. */
export interface FieldError {
  /** JSON pointer into the value; empty for the whole value. */
  readonly field: string;
  readonly message: string;
}

/** Names come from a value that may be hostile, complaints from a schema that may be. */
const MAX_NAME_CHARS = 120;
const MAX_COMPLAINT_CHARS = 1_000;

export function fieldErrorOf(errors: readonly ErrorObject[]): FieldError {
  const error = mostSpecific(errors);
  const extra = extraName(error);
  const pointer =
    extra === undefined ? error.instancePath : `${error.instancePath}/${escapePointer(extra)}`;
  const field = shorten(pointer);
  return { field, message: `${nameOf(pointer)} ${shorten(complaint(error), MAX_COMPLAINT_CHARS)}` };
}

/** The deepest error of an anyOf or oneOf, or else the first error. */
function mostSpecific(errors: readonly ErrorObject[]): ErrorObject {
  const depth = (error: ErrorObject) => error.instancePath.split('/').length;
  const outer = errors.at(-1);
  if (outer === undefined) throw new Error('a failed validation without an error');
  if (outer.keyword !== 'anyOf' && outer.keyword !== 'oneOf') return errors[0] ?? outer;
  return errors.reduce((best, error) => (depth(error) > depth(best) ? error : best), outer);
}

function extraName(error: ErrorObject): string | undefined {
  const { missingProperty, additionalProperty, unevaluatedProperty } = error.params;
  return missingProperty ?? additionalProperty ?? unevaluatedProperty;
}

function complaint(error: ErrorObject): string {
  switch (error.keyword) {
    case 'required':
    case 'dependentRequired':
      return 'is required';
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return 'is not a known field';
    case 'enum':
      return `must be one of ${error.params.allowedValues.map(inWords).join(', ')}`;
    case 'const':
      return `must be ${JSON.stringify(error.params.allowedValue)}`;
    case 'anyOf':
    case 'oneOf':
      return 'has none of the allowed forms';
    case 'false schema':
      return 'is not allowed';
    default:
      return (error.message ?? 'is not valid').replace('NOT', 'not');
  }
}

function inWords(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function nameOf(pointer: string): string {
  if (pointer === '') return 'the value';
  const parts = pointer.slice(1).split('/');
  return shorten(parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')).join('.'));
}

function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

function shorten(text: string, maxChars = MAX_NAME_CHARS): string {
  return text.length <= maxChars ? text : `${text.slice(0, maxChars)}...`;
}
