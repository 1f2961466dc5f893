import { setTimeout as sleep } from 'node:timers/promises';

interface EventuallyOptions {
  /** Generous, because it only bounds how long a failing test takes. */
  readonly timeoutMs?: number;
  readonly everyMs?: number;
}

/**
 * Tries until the function neither throws nor returns false, null or
 * undefined, and returns what it returned. Fails with its last error.
 */
export async function eventually<T>(
  fn: () => T | Promise<T>,
  { timeoutMs = 30_000, everyMs = 5 }: EventuallyOptions = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const attempt = await tryOnce(fn);
    if ('value' in attempt) return attempt.value;
    if (performance.now() >= deadline) {
      throw new Error(`not within ${timeoutMs} ms: ${attempt.why}`, { cause: attempt.cause });
    }
    await sleep(everyMs);
  }
}

type Attempt<T> =
  | { readonly value: NonNullable<Exclude<T, false>> }
  | { readonly why: string; readonly cause?: unknown };

async function tryOnce<T>(fn: () => T | Promise<T>): Promise<Attempt<T>> {
  try {
    const value = await fn();
    if (value === false || value === null || value === undefined) return { why: String(value) };
    return { value: value as NonNullable<Exclude<T, false>> };
  } catch (cause) {
    return { why: cause instanceof Error ? cause.message : String(cause), cause };
  }
}
