import type { CalleeCall } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { argumentsDigest } from '@zerolatency/receipts';
import { canonicalJson, type Digest } from '@zerolatency/signing';

/** What a call asks of a server, as far as it can be read. */
export type ToolRequest = ReadableRequest | UnreadableRequest;

interface Named {
  /** Server and tool, as policy and receipts name it. */
  readonly tool: string;
  readonly argumentsDigest: Digest;
}

interface ReadableRequest extends Named {
  readonly params: ToolParams;
  readonly error?: undefined;
}

interface UnreadableRequest extends Named {
  readonly params?: undefined;
  readonly error: ZlError;
}

export interface ToolParams {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

const decoder = new TextDecoder('utf-8', { fatal: true });
/** As long as a receipt can say. */
const maxToolChars = 256;

export function readToolRequest(call: CalleeCall): ToolRequest {
  const { server, method, params, argumentSalt } = call;
  try {
    if (method !== 'tools/call') {
      const error = new ZlError('tool.unknown', `this bridge does not pass on ${method}`);
      return unreadable(call, error);
    }
    const { name, arguments: args } = parseParams(JSON.parse(decoder.decode(params)));
    const tool = `${server}.${name}`;
    // Policies decide by the whole name, and a receipt has to hold it.
    if (tool.length > maxToolChars || !tool.isWellFormed()) throw noToolName();
    const digest = argumentsDigest(argumentSalt, canonicalJson(args));
    return { tool, argumentsDigest: digest, params: { name, arguments: args } };
  } catch (reason) {
    // Not JSON, or JSON that nests too deep to have a canonical form.
    const error =
      reason instanceof ZlError
        ? reason
        : new ZlError('tool.arguments_invalid', 'params are not JSON', { cause: reason });
    return unreadable(call, error);
  }
}

function parseParams(value: unknown): ToolParams {
  if (!isObject(value)) throw new ZlError('tool.arguments_invalid', 'params: must be an object');
  const { name, arguments: args = {} } = value;
  if (typeof name !== 'string' || name === '') throw noToolName();
  if (!isObject(args)) {
    throw new ZlError('tool.arguments_invalid', 'arguments: must be an object');
  }
  return { name, arguments: args };
}

function unreadable(
  { server, method, params, argumentSalt }: CalleeCall,
  error: ZlError,
): ToolRequest {
  const tool = `${server}.${method}`.slice(0, maxToolChars).toWellFormed();
  return { tool, argumentsDigest: argumentsDigest(argumentSalt, params), error };
}

function noToolName(): ZlError {
  return new ZlError('tool.arguments_invalid', 'name: must be the name of a tool');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
