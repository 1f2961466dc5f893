import { ZlError } from '@zerolatency/errors';
import { type RunEvent, type RunState, type RunStateName, transition } from './run-state.ts';

/** Waits for a start under way. It runs first: what is half open cannot be closed in order. */
export const START_HOOK = 'start';

/** Time for forced hooks to record what they lose and return. */
const DEFAULT_FORCE_GRACE_MS = 2_000;

export interface LifecycleOptions {
  readonly forceGraceMs?: number;
  readonly onHookError?: (name: string, error: unknown) => void;
}

export interface ShutdownRequest {
  readonly reason: string;
  /** Hooks are forced to an end after this. */
  readonly deadlineMs: number;
  /** Set when the process stops because it failed. */
  readonly error?: unknown;
}

interface Hook {
  readonly name: string;
  readonly run: (deadline: AbortSignal) => Promise<void>;
}

/** The run state of one service, and what is to be done before it ends. */
export class Lifecycle {
  readonly #force = new AbortController();
  readonly #stopped = Promise.withResolvers<void>();
  readonly #hooks = new Set<Hook>();
  readonly #listeners = new Set<(state: RunStateName) => void>();
  readonly #obstacles = new Set<{ readonly reason: string }>();
  readonly #failures: { name: string; error: unknown }[] = [];
  readonly #forceGraceMs: number;
  readonly #onHookError: (name: string, error: unknown) => void;
  #order: readonly string[] = [];
  #state: RunState = { name: 'starting' };
  #timer: NodeJS.Timeout | undefined;

  constructor({ forceGraceMs = DEFAULT_FORCE_GRACE_MS, onHookError }: LifecycleOptions = {}) {
    this.#forceGraceMs = forceGraceMs;
    this.#onHookError = onHookError ?? (() => {});
  }

  get state(): RunStateName {
    return this.#state.name;
  }

  get detail(): RunState {
    return this.#state;
  }

  /** Whether new work may begin. */
  get accepting(): boolean {
    return this.#state.name === 'ready' && this.#obstacles.size === 0;
  }

  /** Why no new work may begin; empty when it may. */
  get obstacles(): string[] {
    const reasons = [...this.#obstacles].map(({ reason }) => reason);
    return this.#state.name === 'ready' ? reasons : [`state is ${this.#state.name}`, ...reasons];
  }

  /** Fires when what still runs must end now. Its reason is a ZlError. */
  get stopping(): AbortSignal {
    return this.#force.signal;
  }

  /** Resolves once all hooks have run. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  /** Hooks that threw or did not return. */
  get failures(): readonly { readonly name: string; readonly error: unknown }[] {
    return this.#failures;
  }

  markReady(): void {
    this.#apply({ name: 'ready' });
  }

  /** Takes no new work until the returned function is called, and goes on with the rest. */
  pause(reason: string): () => void {
    const obstacle = { reason };
    this.#changeObstacles(() => this.#obstacles.add(obstacle));
    return () => this.#changeObstacles(() => this.#obstacles.delete(obstacle));
  }

  /** Called when the state or `accepting` changes. Returns a function that removes the listener. */
  onChange(listener: (state: RunStateName) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** States the order in which hooks run, by name. Hooks it does not name run after these. */
  drainOrder(names: readonly string[]): void {
    this.#order = [START_HOOK, ...names];
  }

  /** Hooks run one after another, in the stated order, then the latest first. Returns a function that removes the hook. */
  onDrain(name: string, run: (deadline: AbortSignal) => Promise<void>): () => void {
    const hook = { name, run };
    this.#hooks.add(hook);
    return () => this.#hooks.delete(hook);
  }

  /** A second call joins the shutdown under way and keeps the first deadline. Never rejects. */
  shutdown({ reason, deadlineMs, error }: ShutdownRequest): Promise<void> {
    const first = this.#state.name === 'starting' || this.#state.name === 'ready';
    this.#apply({ name: 'drain', reason, error });
    if (first) {
      this.#timer = setTimeout(() => this.force('the drain deadline has passed'), deadlineMs);
      void this.#drain();
    }
    return this.stopped;
  }

  /** Cuts a shutdown under way short. */
  force(reason: string): void {
    if (this.#state.name !== 'draining') return;
    this.#apply({ name: 'force' });
    this.#force.abort(new ZlError('server.draining', reason));
  }

  async #drain(): Promise<void> {
    for (let hook = this.#takeNextHook(); hook !== undefined; hook = this.#takeNextHook()) {
      try {
        await this.#runHook(hook);
      } catch (error) {
        // One hook that fails must not keep the others from running.
        this.#failures.push({ name: hook.name, error });
        this.#onHookError(hook.name, error);
      }
    }
    clearTimeout(this.#timer);
    this.#apply({ name: 'drained' });
    this.#stopped.resolve();
  }

  /** Taken one by one, so that a hook registered while draining still runs. */
  #takeNextHook(): Hook | undefined {
    const rank = ({ name }: Hook) => {
      const index = this.#order.indexOf(name);
      return index < 0 ? this.#order.length : index;
    };
    // Sorting is stable, so of equal ranks the latest stays first.
    const [hook] = [...this.#hooks].reverse().sort((a, b) => rank(a) - rank(b));
    if (hook !== undefined) this.#hooks.delete(hook);
    return hook;
  }

  async #runHook(hook: Hook): Promise<void> {
    const gaveUp = Promise.withResolvers<never>();
    let timer: NodeJS.Timeout | undefined;
    const onForce = () => {
      const error = new ZlError('internal', `${hook.name} did not end after being forced`);
      timer = setTimeout(() => gaveUp.reject(error), this.#forceGraceMs);
    };
    if (this.stopping.aborted) onForce();
    else this.stopping.addEventListener('abort', onForce, { once: true });
    try {
      await Promise.race([hook.run(this.stopping), gaveUp.promise]);
    } finally {
      clearTimeout(timer);
      this.stopping.removeEventListener('abort', onForce);
    }
  }

  #apply(event: RunEvent): void {
    const before = this.#state;
    this.#state = transition(before, event);
    if (this.#state.name === before.name) return;
    this.#tell();
  }

  #changeObstacles(change: () => void): void {
    const before = this.accepting;
    change();
    if (this.accepting !== before) this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.#state.name);
  }
}
