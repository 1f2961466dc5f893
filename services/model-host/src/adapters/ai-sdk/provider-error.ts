import { APICallError } from '@ai-sdk/provider';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { maskKnown } from '@zerolatency/redaction';

export interface FailedReply {
  /** Names the provider in messages. */
  readonly provider: string;
  /** Whether anything of the reply had arrived. */
  readonly hasBegun: boolean;
  /** What the request sent. Whatever a vendor's message repeats of them must not be logged. */
  readonly keys: readonly string[];
}

const TIMEOUTS = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** Enough to see what a vendor complains of. */
const MAX_QUOTED_CHARS = 1000;
/** A longer wait is a provider that is down. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** The one place where errors of vendors, their packages and undici become ours. */
export function toProviderError(reason: unknown, reply: FailedReply): ZlError {
  const chain = causesOf(reason);
  const ours = chain.find((error) => error instanceof ZlError);
  const { id, message, retryAfterMs } = ours ?? judged(chain, reply.provider);
  // Not the error itself: it holds the conversation, the headers and the whole answer.
  const cause = ours === undefined ? new Error(quoted(chain, reply.keys)) : ours.cause;
  if (reply.hasBegun) {
    return new ZlError('provider.interrupted', `the reply broke off: ${message}`, { cause });
  }
  return new ZlError(id, message, { cause, ...(retryAfterMs !== undefined && { retryAfterMs }) });
}

interface Judgement {
  readonly id: ErrorId;
  readonly message: string;
  readonly retryAfterMs?: number | undefined;
}

function judged(chain: readonly unknown[], provider: string): Judgement {
  const status = chain.map(statusOf).find((found) => found !== undefined);
  if (status !== undefined && (status < 200 || status >= 300)) {
    if (status === 402 || chain.some(isWithoutCredit)) {
      return { id: 'provider.exhausted', message: `${provider} answered ${status}: no credit` };
    }
    return { ...byStatus(status, provider), retryAfterMs: retryAfterOf(chain) };
  }
  const codes = chain.map((error) => fieldOf(error, 'code'));
  const isLate = chain.some((error) => fieldOf(error, 'name') === 'TimeoutError');
  if (isLate || codes.some((code) => TIMEOUTS.has(String(code)))) {
    return { id: 'provider.timeout', message: `${provider} did not answer in time` };
  }
  const network = codes.find((code) => /^(E[A-Z]+|UND_ERR_\w+)$/.test(String(code)));
  if (network !== undefined) {
    return { id: 'provider.failed', message: `the connection to ${provider} failed (${network})` };
  }
  return { id: 'provider.failed', message: `${provider} sent a reply that cannot be read` };
}

function byStatus(status: number, provider: string): Judgement {
  const message = `${provider} answered ${status}`;
  if (status === 401 || status === 403) return { id: 'provider.unauthorized', message };
  // 529 is how Anthropic says that it is overloaded.
  if (status === 429 || status === 529) return { id: 'provider.throttled', message };
  if (status === 408 || status === 504) return { id: 'provider.timeout', message };
  if (status < 500) return { id: 'provider.rejected', message };
  return { id: 'provider.failed', message };
}

/** OpenAI answers 429 as when it throttles, and Anthropic 400, but waiting does not help. */
function isWithoutCredit(error: unknown): boolean {
  const body = fieldOf(error, 'responseBody');
  return /"insufficient_quota"|"billing_error"|credit balance is too low/.test(String(body));
}

/** An error, its cause, the cause of that, and so on. */
function causesOf(reason: unknown): readonly unknown[] {
  const chain: unknown[] = [];
  for (let error = reason; error !== undefined && !chain.includes(error); ) {
    chain.push(error);
    error = fieldOf(error, 'cause');
  }
  return chain;
}

/** Also of the errors that a vendor sends within a stream, which are not Errors. */
function statusOf(error: unknown): number | undefined {
  const status = fieldOf(error, 'statusCode');
  return typeof status === 'number' ? status : undefined;
}

function fieldOf(error: unknown, name: string): unknown {
  if (typeof error !== 'object' || error === null) return undefined;
  return Reflect.get(error, name) ?? undefined;
}

function retryAfterOf(chain: readonly unknown[]): number | undefined {
  const headers = chain.find((error) => APICallError.isInstance(error))?.responseHeaders ?? {};
  const { 'retry-after-ms': precise, 'retry-after': given } = headers;
  const seconds = precise === undefined ? Number(given) : Number(precise) / 1000;
  const ms = Number.isNaN(seconds) ? Date.parse(given ?? '') - Date.now() : seconds * 1000;
  return ms >= 0 ? Math.min(Math.round(ms), MAX_RETRY_AFTER_MS) : undefined;
}

function quoted(chain: readonly unknown[], keys: readonly string[]): string {
  const messages = chain.map((error) => fieldOf(error, 'message') ?? error);
  return maskKnown(messages.map(String).join(': '), keys).slice(0, MAX_QUOTED_CHARS);
}
