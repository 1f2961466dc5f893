import type { Finish } from '@zerolatency/call';
import { type ErrorId, fromUnknown, isErrorId, ZlError } from '@zerolatency/errors';
import { canonicalJson } from '@zerolatency/signing';

/** A model can use a sentence or two of why a tool failed; more belongs into the server's log. */
const maxMessageChars = 2_000;

/** What a server answered, as the end of the call. */
export function finishOf(result: object, server: string, maxBytes: number): Finish {
  if ('isError' in result && result.isError === true) {
    return { status: 'failed', error: toolError(result, server) };
  }
  const bytes = canonicalOf(result);
  if (bytes === undefined) {
    const error = new ZlError('tool.result_invalid', 'the result has no canonical JSON form');
    return { status: 'failed', error };
  }
  if (bytes.length <= maxBytes) return { status: 'done', result: bytes };
  const message = `the result has ${bytes.length} bytes, and ${maxBytes} are allowed`;
  return { status: 'failed', error: new ZlError('tool.result_too_large', message) };
}

function canonicalOf(result: object): Uint8Array | undefined {
  try {
    return canonicalJson(result);
  } catch {
    // Text that is not Unicode, or nesting without end: a digest of it would mean nothing.
    return undefined;
  }
}

function toolError(result: object, server: string): ZlError {
  return new ZlError(errorIdOf(result, server), messageOf(result));
}

/** A server speaks for itself only: fs may say fs.not_found, and none may say policy.denied. */
function errorIdOf(result: object, server: string): ErrorId {
  const meta = '_meta' in result ? result._meta : undefined;
  const id = isObject(meta) && 'errorId' in meta ? meta.errorId : undefined;
  if (typeof id !== 'string' || !isErrorId(id)) return 'tool.failed';
  return id.startsWith(`${server}.`) || id === 'tool.arguments_invalid' ? id : 'tool.failed';
}

/** Why there is no answer, as the end of a call that had begun. */
export function endOfFailure(reason: unknown, hasEffects: boolean): Finish {
  const error = fromUnknown(reason);
  if (error.id === 'call.cancelled') return { status: 'cancelled', error };
  if (error.id !== 'tool.server_down' || !hasEffects) return { status: 'failed', error };
  // server_down invites a second try, and the first one may have done its work.
  const message = `${error.message}; the tool may have run`;
  return { status: 'unknown', error: new ZlError('call.unknown_outcome', message) };
}

function messageOf(result: object): string {
  const content = 'content' in result && Array.isArray(result.content) ? result.content : [];
  const texts = content.flatMap((part: unknown) =>
    isObject(part) && 'text' in part && typeof part.text === 'string' ? [part.text] : [],
  );
  const text = texts.join('\n').slice(0, maxMessageChars).toWellFormed();
  return text === '' ? 'the tool reported an error without saying which' : text;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
