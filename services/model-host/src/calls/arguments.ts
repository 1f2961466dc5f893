import { fromUnknown, ZlError } from '@zerolatency/errors';
import { canonicalText } from '@zerolatency/signing';
import type { ToolArguments } from '../ports.ts';

/** Fits a long text; more belongs in a file. */
const MAX_ARGUMENTS_BYTES = 256 * 1024;

export function readArguments(written: string): ToolArguments {
  if (Buffer.byteLength(written) > MAX_ARGUMENTS_BYTES) {
    return unreadable(written, `are longer than ${MAX_ARGUMENTS_BYTES} bytes`);
  }
  try {
    const value: unknown = JSON.parse(written);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isObject) return unreadable(written, 'are not a JSON object');
    return { value, text: canonicalText(value) };
  } catch (cause) {
    // A model that sees its own mistake corrects it better than one that reads "invalid".
    const why = cause instanceof SyntaxError ? cause.message : fromUnknown(cause).message;
    return unreadable(written, `are not JSON (${why})`, cause);
  }
}

function unreadable(text: string, reason: string, cause?: unknown): ToolArguments {
  const error = new ZlError('tool.arguments_invalid', reason, { cause });
  return { value: undefined, text, error };
}
