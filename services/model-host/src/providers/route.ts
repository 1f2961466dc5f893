import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { Backoff } from '@zerolatency/service/backoff';
import type { Permit } from './breaker.ts';
import type { Capability, Model, Target } from './models.ts';
import type { ModelRequest } from './port.ts';

export interface RetryOptions {
  /** How often the targets are asked again. */
  readonly rounds: number;
  /** A longer wait ends the route. */
  readonly maxWaitMs: number;
}

export interface RouteOptions extends RetryOptions {
  /** On the clock of performance.now(). */
  readonly deadlineMs: number;
}

/** One request to one target, which ends in one of these ways. */
export interface Attempt {
  readonly target: Target;
  done(): void;
  failed(error: ZlError): void;
  /** By us, so it says nothing about the target. */
  cancelled(): void;
}

interface Candidate {
  readonly target: Target;
  notBeforeMs: number;
}

/** These concern the account of the request's key, not the provider. */
const ACCOUNT_FAILURES: ReadonlySet<string> = new Set<ErrorId>([
  'provider.unauthorized',
  'provider.exhausted',
  'provider.throttled',
]);

/** Between two rounds, unless a provider asks for more. */
const BACKOFF = { minMs: 250, maxMs: 4000 };

/**
 * The targets that one model call asks, one after another, until one has answered. When all have
 * failed, those whose failure may pass are asked again after a wait.
 */
export class Route {
  readonly #alias: string;
  readonly #tenant: string;
  readonly #options: RouteOptions;
  readonly #backoff = new Backoff(BACKOFF);
  #candidates: readonly Candidate[];
  /** Not yet asked in this round. */
  #queue: Candidate[];
  #roundsLeft: number;
  #failure: ZlError | undefined;

  /** @throws provider.incapable */
  constructor({ alias, targets }: Model, request: RoutedRequest, options: RouteOptions) {
    const able = targets.filter(
      ({ capabilities }) =>
        capabilities === undefined || needsOf(request).every((need) => capabilities.has(need)),
    );
    if (able.length === 0) {
      const needs = needsOf(request);
      const message = `no target of the alias "${alias}" supports all of: ${needs.join(', ')}`;
      throw new ZlError('provider.incapable', message);
    }
    this.#alias = alias;
    this.#tenant = request.tenant;
    this.#options = options;
    this.#candidates = able.map((target) => ({ target, notBeforeMs: 0 }));
    this.#queue = [...this.#candidates];
    this.#roundsLeft = options.rounds;
  }

  /** Throws the failure to report when no target is left, or the signal's reason. */
  async next(signal: AbortSignal): Promise<Attempt> {
    const attempt = this.#enter();
    if (attempt !== undefined) return attempt;
    // Nobody waits for a breaker: what keeps failing should fail fast.
    if (this.#failure === undefined) throw this.#unavailable();
    const waitMs = this.#waitMs();
    const isTooLong =
      waitMs > this.#options.maxWaitMs || performance.now() + waitMs > this.#options.deadlineMs;
    if (this.#roundsLeft === 0 || isTooLong) throw this.#failure;
    this.#roundsLeft -= 1;
    // A timer cuts fractions of a millisecond off and may fire one early.
    await sleep(Math.ceil(waitMs) + 1, undefined, { signal }).catch(() => signal.throwIfAborted());
    this.#queue = [...this.#candidates];
    const again = this.#enter();
    if (again === undefined) throw this.#failure;
    return again;
  }

  #enter(): Attempt | undefined {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const permit = next.notBeforeMs > performance.now() ? undefined : next.target.breaker.enter();
      if (permit !== undefined) return this.#attempt(next, permit);
    }
    return undefined;
  }

  #attempt(candidate: Candidate, permit: Permit): Attempt {
    return {
      target: candidate.target,
      done: permit.succeeded,
      cancelled: permit.abandoned,
      failed: (error) => {
        // The provider works; it is this request that it refuses.
        if (error.id === 'provider.rejected') permit.succeeded();
        // The breaker is for all tenants, and what is wrong with one account is not their problem.
        else if (this.#isOfAccount(candidate.target, error)) permit.abandoned();
        else permit.failed(error.retryAfterMs);
        this.#remember(candidate, error);
      },
    };
  }

  #isOfAccount({ provider }: Target, { id }: ZlError): boolean {
    if (id === 'provider.no_key') return true;
    return ACCOUNT_FAILURES.has(id) && provider.hasOwnAccount?.(this.#tenant) === true;
  }

  #remember(candidate: Candidate, error: ZlError): void {
    // The client should hear of a failure that may pass, if there was one.
    if (error.retryable || !this.#failure?.retryable) this.#failure = error;
    if (error.retryable) candidate.notBeforeMs = performance.now() + (error.retryAfterMs ?? 0);
    else this.#candidates = this.#candidates.filter((other) => other !== candidate);
  }

  /** Infinite when no target may be asked again. */
  #waitMs(): number {
    const soonestMs = Math.min(...this.#candidates.map(({ notBeforeMs }) => notBeforeMs));
    return Math.max(this.#backoff.nextMs(), soonestMs - performance.now());
  }

  #unavailable(): ZlError {
    const retryAfterMs = Math.ceil(
      Math.min(...this.#candidates.map(({ target }) => target.breaker.retryAfterMs)),
    );
    const message = `every target of the alias "${this.#alias}" keeps failing`;
    return new ZlError('provider.unavailable', message, { retryAfterMs });
  }
}

type RoutedRequest = Needy & Pick<ModelRequest, 'tenant'>;
type Needy = Pick<ModelRequest, 'messages' | 'tools' | 'outputSchema'>;

/** What a target has to support. */
function needsOf({ messages, tools, outputSchema }: Needy): readonly Capability[] {
  const needs: Capability[] = [];
  if (tools.length > 0) needs.push('tools');
  if (outputSchema !== undefined) needs.push('structuredOutput');
  const hasImage = messages.some(({ content }) => content.some(({ type }) => type === 'file'));
  if (hasImage) needs.push('images');
  return needs;
}
