import type { ToolCallRequest } from '../providers/port.ts';

const MAX_ARGUMENTS_BYTES = 256 * 1024;

/** Why the calls of a reply cannot be run, or undefined when they can. */
export function unreadable(
  calls: readonly ToolCallRequest[],
  maxCalls: number,
): string | undefined {
  if (calls.length > maxCalls) return `${calls.length} tool calls at once, ${maxCalls} are allowed`;
  for (const call of calls) {
    const reason = unreadableArguments(call.argumentsText);
    if (reason !== undefined) return `the arguments of ${call.tool.slice(0, 100)} ${reason}`;
  }
  return undefined;
}

function unreadableArguments(text: string): string | undefined {
  if (Buffer.byteLength(text) > MAX_ARGUMENTS_BYTES) {
    return `are longer than ${MAX_ARGUMENTS_BYTES} bytes`;
  }
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? undefined : 'are not a JSON object';
  } catch (reason) {
    // A model that sees its own mistake corrects it better than one that is told "invalid".
    return `are not JSON (${reason instanceof Error ? reason.message : 'unreadable'})`;
  }
}
