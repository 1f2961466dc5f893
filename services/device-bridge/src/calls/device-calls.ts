import {
  Callee,
  type CalleeCall,
  type CalleeLimits,
  type CalleeOutcome,
  type CalleeSink,
  type Journal,
} from '@zerolatency/call';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { Runner, type RunnerDeps } from './runner.ts';

export interface CallsClock {
  /** Never steps, and counts the sleep of the machine. */
  steadyMs(): number;
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface CallsDeps extends RunnerDeps {
  readonly journal: Journal;
  readonly clock: CallsClock;
  readonly limits: Partial<CalleeLimits> & Pick<CalleeLimits, 'maxResultBytes'>;
  send(frame: Frame): void;
  readonly onRefused: (frame: Frame) => void;
  /** A state of a call cannot be kept: nothing more may be sent, and the process must end. */
  readonly onFatal: (error: unknown) => void;
}

/** A timer stops while the machine sleeps; a deadline that passed meanwhile is seen this soon. */
const MAX_TIMER_MS = 1_000;

/** All calls of the device: the protocol's state machine, the runner of tools, and time. */
export class DeviceCalls {
  readonly #deps: CallsDeps;
  readonly #callee: Callee;
  readonly #runner: Runner;
  #isDead = false;
  #lastFrameMs = 0;
  #timer: unknown;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #idle: (() => void) | undefined;

  constructor(deps: CallsDeps) {
    this.#deps = deps;
    this.#runner = new Runner(deps, {
      begin: (callId, options) =>
        this.#guard(() => this.#callee.begin(callId, options, deps.clock.steadyMs)) ?? 0,
      progress: (callId, report) => this.#guard(() => this.#callee.progress(callId, report)),
      finished: (callId, finish) => void this.#input(() => this.#callee.finished(callId, finish)),
    });
    this.#callee = new Callee(deps.journal, this.#sink(), deps.limits);
  }

  get running(): number {
    return this.#callee.running;
  }

  /** Time since the last frame; 0 while a call runs. */
  get idleMs(): number {
    return this.running > 0 ? 0 : performance.now() - this.#lastFrameMs;
  }

  /** Call it once, before the first connection. */
  recover(): void {
    this.#input(() => this.#callee.recover(this.#deps.clock.steadyMs()));
  }

  attached(epoch: number): void {
    this.#input(() => this.#callee.attached(epoch));
  }

  detached(): void {
    this.#input(() => this.#callee.detached());
  }

  frame(frame: Frame, host: string): void {
    this.#lastFrameMs = performance.now();
    this.#input(() => this.#callee.frame(frame, this.#deps.clock.steadyMs(), host));
  }

  /** Takes no new calls, and resolves once those that run have ended or the deadline fires. */
  drain(deadline: AbortSignal): Promise<void> {
    this.#callee.drain();
    if (this.running === 0 || deadline.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
      deadline.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** For what the journal's owner finds: the calls cannot go on with it. */
  fail(error: unknown): void {
    this.#die(error);
  }

  /** The clean end: nothing is read or written after it. */
  close(): void {
    this.#guard(() => this.#callee.close());
    this.#stop();
  }

  #stop(): void {
    this.#isDead = true;
    this.#deps.clock.clearTimeout(this.#timer);
  }

  #sink(): CalleeSink {
    return {
      send: (frame) => {
        if (frame.kind === FrameKind.REFUSED) this.#deps.onRefused(frame);
        this.#deps.send(frame);
      },
      dispatch: (call) => this.#runner.dispatch(call),
      abort: (callId, reason) => this.#runner.abort(callId, reason),
      seal: (call, ending) => void this.#seal(call, ending),
    };
  }

  async #seal(call: CalleeCall, ending: CalleeOutcome): Promise<void> {
    try {
      const { seal, end } = await this.#runner.seal(call, ending);
      this.#input(() => this.#callee.sealed(call.callId, seal));
      end();
    } catch (error) {
      // Without a receipt the outcome must not be sent.
      this.#die(error);
    }
  }

  #input(run: () => void): void {
    this.#guard(run);
    this.#schedule();
    if (this.#idle === undefined || this.running > 0) return;
    this.#idle();
    this.#idle = undefined;
  }

  #guard<T>(run: () => T): T | undefined {
    if (this.#isDead) return undefined;
    try {
      return run();
    } catch (error) {
      this.#die(error);
      return undefined;
    }
  }

  #die(error: unknown): void {
    if (this.#isDead) return;
    this.#stop();
    this.#deps.onFatal(error);
  }

  #schedule(): void {
    const { clock } = this.#deps;
    const atMs = this.#callee.nextWakeMs;
    // A timer that is early only looks again; one too late would miss a deadline.
    if (this.#isDead || atMs >= this.#timerAtMs) return;
    clock.clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    const wake = () => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#input(() => this.#callee.tick(clock.steadyMs()));
    };
    this.#timer = clock.setTimeout(
      wake,
      Math.min(MAX_TIMER_MS, Math.max(0, atMs - clock.steadyMs())),
    );
  }
}
