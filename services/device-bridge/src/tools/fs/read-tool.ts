import { fromUnknown, ZlError } from '@zerolatency/errors';
import { ENCODINGS, type ReadArguments, type ReadResult, readFileRange } from './read-file.ts';
import type { Place, Roots } from './roots.ts';

const FIELDS = new Set(['path', 'offset', 'length', 'encoding']);

/** The field of _meta in which the bridge limits the length of the whole result. */
export const MAX_BYTES_META = 'zerolatency/maxBytes';

/** The field of _meta in which the server reports what it opened, by argument, for policy. */
const OPENED_META = 'zerolatency/opened';

export type McpToolResult = {
  readonly content: { readonly type: 'text'; readonly text: string }[];
  readonly structuredContent: Readonly<Record<string, unknown>>;
  readonly isError?: true;
  readonly _meta?: Record<string, unknown>;
};

interface ReadLimits {
  /** Bounds the file content, whatever the call asks for. */
  readonly maxBytes: number;
  /** Bounds the result as JSON. */
  readonly maxResultBytes: number;
}

/** The tool `read`: a result or an error result, never a throw. */
export function callRead(
  roots: Roots,
  args: Readonly<Record<string, unknown>>,
  limits: ReadLimits,
): McpToolResult {
  try {
    return readToFit(roots, args, limits);
  } catch (reason) {
    return errorResult(reason, undefined);
  }
}

/** How much JSON adds to the content is known only once it is made. */
function readToFit(roots: Roots, given: Readonly<Record<string, unknown>>, limits: ReadLimits) {
  const args = parseReadArguments(given);
  let maxBytes = Math.min(limits.maxBytes, limits.maxResultBytes);
  for (;;) {
    const read = readFileRange(roots, args, maxBytes);
    if (read.error !== undefined) return errorResult(read.error, read.place);
    const result = toolResult(read.result, read.place);
    if (atMost(read.result) <= limits.maxResultBytes) return result;
    const resultBytes = Buffer.byteLength(JSON.stringify(result));
    if (resultBytes <= limits.maxResultBytes || maxBytes === 0) return result;
    maxBytes = Math.floor((maxBytes * limits.maxResultBytes * 0.95) / resultBytes);
  }
}

/** Content appears twice, the path three times, a unit of either takes at most six bytes of JSON, and the rest is names. */
function atMost({ length, path }: ReadResult): number {
  return 12 * length + 18 * path.length + 1024;
}

function toolResult(result: ReadResult, place: Place): McpToolResult {
  const { encoding, content, length, size, path } = result;
  const text = encoding === 'text' ? content : `${length} of ${size} bytes of ${path}, as base64`;
  return {
    content: [{ type: 'text', text }],
    structuredContent: { ...result },
    _meta: openedMeta(place),
  };
}

/** It reports the place too: whether a file exists or holds text is also for policy to release. */
function errorResult(reason: unknown, place: Place | undefined): McpToolResult {
  const { id, message } = fromUnknown(reason);
  return {
    isError: true,
    content: [{ type: 'text', text: message }],
    structuredContent: { errorId: id, message },
    _meta: { errorId: id, ...(place && openedMeta(place)) },
  };
}

function openedMeta({ path, links }: Place) {
  return { [OPENED_META]: [{ argument: 'path', path, links }] };
}

/** The bridge may serve a host of another release, so the server checks for itself. */
function parseReadArguments(given: Readonly<Record<string, unknown>>): ReadArguments {
  const unknown = Object.keys(given).find((key) => !FIELDS.has(key));
  if (unknown !== undefined) throw invalid(unknown, 'is not an argument of read');
  const { path, offset = 0, length, encoding = 'auto' } = given;
  if (typeof path !== 'string' || path === '') throw invalid('path', 'must be a path');
  if (!isCount(offset, 0)) throw invalid('offset', 'must be a whole number of bytes');
  if (length !== undefined && !isCount(length, 1)) {
    throw invalid('length', 'must be a whole number of bytes, at least 1');
  }
  const known = ENCODINGS.find((each) => each === encoding);
  if (known === undefined) throw invalid('encoding', `must be one of ${ENCODINGS.join(', ')}`);
  return { path, offset, length, encoding: known };
}

function isCount(value: unknown, minimum: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= minimum;
}

function invalid(field: string, problem: string): ZlError {
  return new ZlError('tool.arguments_invalid', `${field}: ${problem}`);
}
