import type { ModelPart } from './port.ts';

// An adapter that ignores its signal delays the end of a turn no longer than this.
const STOP_GRACE_MS = 2000;

/**
 * Reads a provider's stream so that an abort is seen at once, even by a
 * provider that hangs. One listener per stream, because racing every chunk
 * against one long-lived promise would keep every chunk in memory.
 */
export class ReplyReader {
  readonly #parts: AsyncIterator<ModelPart>;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => this.#interrupt?.(this.#signal.reason);
  #interrupt: ((reason: unknown) => void) | undefined;

  constructor(parts: AsyncIterable<ModelPart>, signal: AbortSignal) {
    this.#parts = parts[Symbol.asyncIterator]();
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  async next(): Promise<ModelPart | undefined> {
    this.#signal.throwIfAborted();
    const result = await new Promise<IteratorResult<ModelPart>>((resolve, reject) => {
      this.#interrupt = reject;
      this.#parts.next().then(resolve, reject);
    });
    return result.done ? undefined : result.value;
  }

  /** Resolves when the provider has let go, or after a grace. */
  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    const { promise, resolve } = Promise.withResolvers<void>();
    const grace = setTimeout(resolve, STOP_GRACE_MS);
    // The turn has ended, so an error of the provider being stopped no longer matters.
    Promise.resolve(this.#parts.return?.()).then(
      () => resolve(),
      () => resolve(),
    );
    await promise;
    clearTimeout(grace);
  }
}
