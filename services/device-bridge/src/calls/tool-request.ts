import type { CalleeCall, Finish } from '@zerolatency/call';
import { type ErrorId, fromUnknown, isErrorId, ZlError } from '@zerolatency/errors';
import type { Decision, OpenedFile } from '@zerolatency/policy';
import { argumentsDigest } from '@zerolatency/receipts';
import { canonicalJson, type Digest } from '@zerolatency/signing';

/** What a call asks of a server, as far as it could be parsed. */
export type ToolRequest = ReadableRequest | UnreadableRequest;

interface Named {
  /** Server and tool, as in policies and receipts. */
  readonly tool: string;
  readonly argumentsDigest: Digest;
}

export interface ReadableRequest extends Named {
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

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** A receipt holds no longer name. */
const MAX_TOOL_CHARS = 256;

export function readToolRequest(call: CalleeCall): ToolRequest {
  const { server, method, params, argumentSalt } = call;
  try {
    if (method !== 'tools/call') {
      const error = new ZlError('tool.unknown', `this bridge does not pass on ${method}`);
      return unreadable(call, error);
    }
    const { name, arguments: args } = parseParams(JSON.parse(utf8.decode(params)));
    const tool = `${server}.${name}`;
    // Policies decide by the whole name, and the receipt must hold it.
    if (tool.length > MAX_TOOL_CHARS || !tool.isWellFormed()) throw noToolName();
    const digest = argumentsDigest(argumentSalt, canonicalJson(args));
    return { tool, argumentsDigest: digest, params: { name, arguments: args } };
  } catch (reason) {
    // Not JSON, or JSON nested too deep for a canonical form.
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
  const tool = `${server}.${method}`.slice(0, MAX_TOOL_CHARS).toWellFormed();
  return { tool, argumentsDigest: argumentsDigest(argumentSalt, params), error };
}

function noToolName(): ZlError {
  return new ZlError('tool.arguments_invalid', 'name: must be the name of a tool');
}

/** A model needs a sentence or two about a failure; more belongs in the server's log. */
const MAX_MESSAGE_CHARS = 2_000;

export interface ResultLimit {
  readonly maxBytes: number;
  /** For whoever needs a larger one. */
  readonly setBy: string;
}

/** Turns a server's result into the end of the call. */
export function finishOf(result: object, server: string, limit: ResultLimit): Finish {
  if ('isError' in result && result.isError === true) {
    return { status: 'failed', error: toolError(result, server) };
  }
  const bytes = canonicalOf(result);
  if (bytes === undefined) {
    const error = new ZlError('tool.result_invalid', 'the result has no canonical JSON form');
    return { status: 'failed', error };
  }
  const { maxBytes, setBy } = limit;
  if (bytes.length <= maxBytes) return { status: 'done', result: bytes };
  const message = `the result has ${bytes.length} bytes, and ${maxBytes} are allowed by ${setBy}`;
  return { status: 'failed', error: new ZlError('tool.result_too_large', message) };
}

function canonicalOf(result: object): Uint8Array | undefined {
  try {
    return canonicalJson(result);
  } catch {
    // Malformed Unicode or endless nesting: it has no digest that others could verify.
    return undefined;
  }
}

function toolError(result: object, server: string): ZlError {
  return new ZlError(errorIdOf(result, server), messageOf(result));
}

/** A server may use its own ids only: fs may use fs.not_found, and none may use policy.denied. */
function errorIdOf(result: object, server: string): ErrorId {
  const meta = '_meta' in result ? result._meta : undefined;
  const id = isObject(meta) ? meta.errorId : undefined;
  if (typeof id !== 'string' || !isErrorId(id)) return 'tool.failed';
  return id.startsWith(`${server}.`) || id === 'tool.arguments_invalid' ? id : 'tool.failed';
}

/** The field of _meta in which a server reports the files it opened, by argument. */
const OPENED_META = 'zerolatency/opened';
/** Policy compares each with the folders of every rule. */
const MAX_FILES = 64;

/** What a result says that the server opened; empty when it says nothing. */
export function openedFiles(result: object): readonly OpenedFile[] {
  const meta = '_meta' in result ? result._meta : undefined;
  const report = isObject(meta) ? meta[OPENED_META] : undefined;
  if (report === undefined) return [];
  if (Array.isArray(report) && report.length <= MAX_FILES && report.every(isOpenedFile)) {
    return report;
  }
  throw new ZlError('tool.result_invalid', 'the report of opened files is malformed');
}

function isOpenedFile(value: unknown): value is OpenedFile {
  if (!isObject(value)) return false;
  const { argument, path, links } = value;
  return typeof argument === 'string' && typeof path === 'string' && Number.isSafeInteger(links);
}

/** How a call ends whose result policy does not release. Only a tool without effects has changed nothing. */
export function withheld(decision: Exclude<Decision, { effect: 'allow' }>, hasEffects: boolean) {
  const { errorId, reason } = decision;
  const finish: Finish = hasEffects
    ? {
        status: 'failed',
        error: new ZlError(errorId, `${reason}; the tool has run, and its result is withheld`),
      }
    : { status: 'denied', error: new ZlError(errorId, reason) };
  return finish;
}

/** Turns a failed request into the end of a call that had begun. */
export function endOfFailure(reason: unknown, hasEffects: boolean): Finish {
  const error = fromUnknown(reason);
  if (error.id === 'call.cancelled') return { status: 'cancelled', error };
  if (error.id === 'tool.result_too_large') {
    const message = `${error.message}; calls.maxResult of the bridge, or maxLineBytes in the server manifest, allows more`;
    return { status: 'failed', error: new ZlError(error.id, message, { cause: error }) };
  }
  if (error.id !== 'tool.server_down' || !hasEffects) return { status: 'failed', error };
  // server_down invites a retry, and the first attempt may have taken effect.
  const message = `${error.message}; the tool may have run`;
  return { status: 'unknown', error: new ZlError('call.unknown_outcome', message) };
}

function messageOf(result: object): string {
  const content = 'content' in result && Array.isArray(result.content) ? result.content : [];
  const texts = content.flatMap((part: unknown) =>
    isObject(part) && typeof part.text === 'string' ? [part.text] : [],
  );
  const text = texts.join('\n').slice(0, MAX_MESSAGE_CHARS).toWellFormed();
  return text === '' ? 'the tool reported an error without a message' : text;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
