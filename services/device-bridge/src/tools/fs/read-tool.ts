import { fromUnknown } from '@zerolatency/errors';
import { parseReadArguments } from './read-arguments.ts';
import { type ReadResult, readFileRange } from './read-file.ts';
import type { Roots } from './roots.ts';

/** The bridge tells here how long the whole result may be. */
export const maxBytesMeta = 'zerolatency/maxBytes';

export type ToolResult = {
  readonly content: { readonly type: 'text'; readonly text: string }[];
  readonly structuredContent: Readonly<Record<string, unknown>>;
  readonly isError?: true;
  readonly _meta?: Record<string, unknown>;
};

interface ReadLimits {
  /** Of file content, whatever is asked for. */
  readonly maxBytes: number;
  /** Of the result as JSON. */
  readonly maxResultBytes: number;
}

/** The tool `read`: a result or an error result, never a throw. */
export function callRead(
  roots: Roots,
  args: Readonly<Record<string, unknown>>,
  limits: ReadLimits,
): ToolResult {
  try {
    return readToFit(roots, args, limits);
  } catch (reason) {
    return errorResult(reason);
  }
}

/** JSON makes content longer by an amount that only shows once it is made. */
function readToFit(roots: Roots, given: Readonly<Record<string, unknown>>, limits: ReadLimits) {
  const args = parseReadArguments(given);
  let maxBytes = Math.min(limits.maxBytes, limits.maxResultBytes);
  for (;;) {
    const read = readFileRange(roots, args, maxBytes);
    const result = toolResult(read);
    if (atMost(read) <= limits.maxResultBytes) return result;
    const resultBytes = Buffer.byteLength(JSON.stringify(result));
    if (resultBytes <= limits.maxResultBytes || maxBytes === 0) return result;
    maxBytes = Math.floor((maxBytes * limits.maxResultBytes * 0.95) / resultBytes);
  }
}

/** Content is there twice, a byte of it is six bytes of JSON at worst, and the rest is names. */
function atMost({ length, path }: ReadResult): number {
  return 12 * (length + path.length) + 1024;
}

function toolResult(result: ReadResult): ToolResult {
  const { encoding, content, length, size, path } = result;
  const text = encoding === 'text' ? content : `${length} of ${size} bytes of ${path}, as base64`;
  return { content: [{ type: 'text', text }], structuredContent: { ...result } };
}

function errorResult(reason: unknown): ToolResult {
  const { id, message } = fromUnknown(reason);
  return {
    isError: true,
    content: [{ type: 'text', text: message }],
    structuredContent: { errorId: id, message },
    _meta: { errorId: id },
  };
}
