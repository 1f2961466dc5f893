import { Backoff } from '@zerolatency/service/backoff';
import { CircuitState, CountBreaker } from 'cockatiel';

/**
 *            half of the last requests failed            openFor has passed
 *   closed ---------------------------------> open -------------------------> half-open
 *     ^                                         ^                               |  |
 *     |                                         +------ the probe failed -------+  |
 *     +------------------------------- the probe succeeded ------------------------+
 *
 * The first request after openFor is the probe. While it runs nobody else may ask.
 */
type State =
  | { readonly at: 'closed'; readonly recent: CountBreaker }
  | { readonly at: 'open'; readonly untilMs: number }
  | { readonly at: 'half-open' };

export type BreakerState = State['at'];

export interface BreakerOptions {
  readonly openForMs: number;
  /** openFor doubles up to this while probes fail. */
  readonly maxOpenForMs: number;
}

/** One request, which ends in one of these ways. It counts for nothing once the state has changed. */
export interface Permit {
  succeeded(): void;
  /** With the wait that the provider asked for. */
  failed(retryAfterMs?: number): void;
  /** Ended by us, so it says nothing about the provider. */
  abandoned(): void;
}

/** Opens on a provider that is down within five requests, and on one that fails half of the time within ten. */
const RECENT = { size: 10, minimumNumberOfCalls: 5, threshold: 0.49 };

/** On a monotonic clock: a clock set back must not keep a breaker open. */
export class Breaker {
  readonly #options: BreakerOptions;
  readonly #nowMs: () => number;
  readonly #backoff: Backoff;
  #state: State = closed();

  constructor(options: BreakerOptions, nowMs = () => performance.now()) {
    this.#options = options;
    this.#nowMs = nowMs;
    this.#backoff = new Backoff({ minMs: options.openForMs, maxMs: options.maxOpenForMs });
  }

  get state(): BreakerState {
    return this.#state.at;
  }

  /** Until a probe may ask; 0 when closed or when it may ask now. */
  get retryAfterMs(): number {
    return this.#state.at === 'open' ? Math.max(0, this.#state.untilMs - this.#nowMs()) : 0;
  }

  /** Undefined while the provider is not to be asked. */
  enter(): Permit | undefined {
    if (this.#state.at === 'half-open' || this.retryAfterMs > 0) return undefined;
    if (this.#state.at === 'open') this.#state = { at: 'half-open' };
    const entered = this.#state;
    const verdict = (judge: (state: State) => State) => () => {
      if (this.#state === entered) this.#state = judge(entered);
    };
    return {
      succeeded: verdict((state) => this.#afterSuccess(state)),
      failed: (retryAfterMs) => verdict((state) => this.#afterFailure(state, retryAfterMs))(),
      // The next request probes in its place.
      abandoned: verdict((state) =>
        state.at === 'half-open' ? { at: 'open', untilMs: this.#nowMs() } : state,
      ),
    };
  }

  #afterSuccess(state: State): State {
    if (state.at === 'closed') {
      state.recent.success(CircuitState.Closed);
      return state;
    }
    this.#backoff.reset();
    return closed();
  }

  #afterFailure(state: State, retryAfterMs = 0): State {
    if (state.at === 'closed' && !state.recent.failure(CircuitState.Closed)) return state;
    const askedMs = Math.min(retryAfterMs, this.#options.maxOpenForMs);
    return { at: 'open', untilMs: this.#nowMs() + Math.max(this.#backoff.nextMs(), askedMs) };
  }
}

function closed(): State {
  return { at: 'closed', recent: new CountBreaker(RECENT) };
}
