import { ZlError } from '@zerolatency/errors';

const encodings = ['auto', 'text', 'base64'] as const;

export interface ReadArguments {
  readonly path: string;
  readonly offset: number;
  /** Up to the end of the file when undefined. */
  readonly length: number | undefined;
  readonly encoding: (typeof encodings)[number];
}

/** The bridge may run tools for a host of another release, so the server checks for itself. */
export function parseReadArguments(given: Readonly<Record<string, unknown>>): ReadArguments {
  const unknown = Object.keys(given).find((key) => !fields.has(key));
  if (unknown !== undefined) throw invalid(unknown, 'is not an argument of read');
  const { path, offset = 0, length, encoding = 'auto' } = given;
  if (typeof path !== 'string' || path === '') throw invalid('path', 'must be a path');
  if (!isCount(offset, 0)) throw invalid('offset', 'must be a whole number of bytes');
  if (length !== undefined && !isCount(length, 1)) {
    throw invalid('length', 'must be a whole number of bytes, at least 1');
  }
  const known = encodings.find((each) => each === encoding);
  if (known === undefined) throw invalid('encoding', `must be one of ${encodings.join(', ')}`);
  return { path, offset, length, encoding: known };
}

const fields = new Set(['path', 'offset', 'length', 'encoding']);

function isCount(value: unknown, minimum: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum;
}

function invalid(field: string, problem: string): ZlError {
  return new ZlError('tool.arguments_invalid', `${field}: ${problem}`);
}
