import { randomBytes } from 'node:crypto';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';
import type { TurnKind } from '../limits/quotas.ts';
import type { Place, TurnSlots } from '../limits/turn-slots.ts';
import type { TurnScope } from '../ports.ts';
import type { Models } from '../providers/models.ts';
import type { ModelMessage } from '../providers/port.ts';
import { NOTHING_SPENT, narrowLimits, type TurnLimits } from './budget.ts';
import type { TurnObserver } from './telemetry.ts';
import type { AskedCall } from './tool-step.ts';
import { type NestedRequest, Turn, type TurnDeps, type TurnEnd, type TurnRequest } from './turn.ts';
import { TurnLog, UNREAD } from './turn-log.ts';

export interface TurnAsk {
  readonly identity: Identity;
  readonly turnId: string;
  readonly sessionId: string;
  readonly deviceId: string;
  readonly messages: readonly ModelMessage[];
  /** Run in place of a conversation with the model. */
  readonly call?: AskedCall | undefined;
  /** The turn goes on without its device when that cannot be reached. */
  readonly deviceOptional?: boolean;
  readonly limits: Partial<TurnLimits>;
  /** Alias; empty for the default. */
  readonly model: string;
  readonly mayReplaceText?: boolean | undefined;
  /** W3C trace context of the request; empty when it has none. */
  readonly traceparent: string;
}

export interface TurnWatch {
  readonly observer: TurnObserver;
  within<T>(run: () => Promise<T>): Promise<T>;
}

export interface TurnsDeps extends Omit<TurnDeps, 'observer' | 'resolveModel' | 'runNested'> {
  readonly models: Models;
  readonly limits: TurnLimits;
  readonly slots: TurnSlots;
  /** Throws while a turn could not be recorded. */
  readonly assertWritable: () => void;
  /** Without a traceparent the turn's span is a child of the active one. */
  readonly watch: (
    scope: TurnScope,
    options: { readonly model: string; readonly traceparent?: string },
  ) => TurnWatch;
}

export interface RunningTurn {
  /** Resolves after the terminal event; never rejects. */
  readonly ended: Promise<TurnEnd>;
  cancel(error: ZlError): void;
}

/** Made once, because a drain may refuse many. */
const noNewTurns = new ZlError('server.draining', 'this pod takes no new turns');

/** The turns of this pod: admits them, and ends them when the pod drains. */
export class Turns {
  readonly #deps: TurnsDeps;
  readonly #running = new Set<RunningTurn>();
  readonly #waiting = new Set<AbortController>();
  readonly #draining = new AbortController();

  constructor(deps: TurnsDeps) {
    this.#deps = deps;
  }

  /** Aborts when no new turns are admitted any more. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Cheap, so it comes before the request is read. @throws server.draining or limit.exceeded */
  assertRoom(identity: Identity, kind: TurnKind): void {
    if (this.draining.aborted) throw noNewTurns;
    this.#deps.quotas.assertRoom(identity, kind);
    this.#deps.slots.assertFree(identity);
  }

  /** A place in this pod, within the limits of tenant and user. @throws server.draining or limit.exceeded */
  async enter(identity: Identity, turnId: string): Promise<Place> {
    if (this.draining.aborted) throw noNewTurns;
    const place = this.#deps.slots.enter(identity);
    try {
      const close = await this.#deps.quotas.open(identity, turnId);
      const leave = () => {
        place.leave();
        close();
      };
      return { ...place, leave };
    } catch (reason) {
      place.leave();
      throw reason;
    }
  }

  /** The place is given back when the turn has ended. @throws a ZlError when it may not start. */
  start(ask: TurnAsk, log: TurnLog, place = this.#deps.slots.enter(ask.identity)): RunningTurn {
    try {
      return this.#start(ask, log, place);
    } catch (reason) {
      place.leave();
      throw reason;
    }
  }

  #start(ask: TurnAsk, log: TurnLog, place: Place): RunningTurn {
    // The pod may have begun to drain after the place was given.
    if (this.draining.aborted) throw noNewTurns;
    this.#deps.assertWritable();
    const model = this.#deps.models.resolve(ask.model, ask.identity.tenant);
    const limits = narrowLimits(this.#deps.limits, ask.limits);
    const { identity, sessionId, deviceId, turnId, messages, call } = ask;
    const scope = { identity, sessionId, deviceId, turnId };
    const { deviceOptional = false, mayReplaceText = false } = ask;
    const choices = { deviceOptional, mayReplaceText };
    const request = { scope, model, limits, messages, call, ...choices, depth: 0 };
    const stop = new AbortController();
    const timer = setTimeout(() => {
      stop.abort(new ZlError('budget.time', `the turn took longer than ${limits.timeoutMs} ms`));
    }, limits.timeoutMs);
    const running: RunningTurn = {
      cancel: (error) => stop.abort(error),
      ended: this.#inSlot(place, request, { log, traceparent: ask.traceparent, stop }).finally(
        () => {
          clearTimeout(timer);
          place.leave();
          this.#running.delete(running);
        },
      ),
    };
    this.#running.add(running);
    return running;
  }

  async #inSlot(
    place: Place,
    request: TurnRequest,
    { log, traceparent, stop }: { log: TurnLog; traceparent: string; stop: AbortController },
  ): Promise<TurnEnd> {
    this.#waiting.add(stop);
    try {
      const queuedMs = await place.slot(stop.signal);
      this.#waiting.delete(stop);
      return await this.#run({ ...request, queuedMs }, { log, traceparent }, stop.signal);
    } catch (reason) {
      return endUnstarted(fromUnknown(reason, { aborted: 'turn.cancelled' }), log);
    } finally {
      this.#waiting.delete(stop);
    }
  }

  #run(
    request: TurnRequest,
    { log, traceparent }: { log: TurnLog; traceparent?: string },
    signal: AbortSignal,
  ): Promise<TurnEnd> {
    const options = {
      model: request.model.alias,
      ...(traceparent !== undefined && { traceparent }),
    };
    const { observer, within } = this.#deps.watch(request.scope, options);
    const runNested: TurnDeps['runNested'] = (nested, stop) => this.#runNested(nested, stop);
    const resolveModel: TurnDeps['resolveModel'] = (...alias) =>
      this.#deps.models.resolve(...alias);
    const turn = new Turn(request, { ...this.#deps, observer, resolveModel, runNested }, log);
    return within(() => turn.run(signal));
  }

  /** It takes no slot: it runs in the place of the turn that waits for it. */
  async #runNested(
    { scope, model: named, ...request }: NestedRequest,
    signal: AbortSignal,
  ): Promise<TurnEnd> {
    const turn = { ...scope, turnId: newId() };
    const model =
      typeof named === 'string' ? this.#deps.models.resolve(named, scope.identity.tenant) : named;
    const log = new TurnLog(turn, UNREAD);
    return this.#run({ ...request, scope: turn, model }, { log }, signal);
  }

  /** Refuses new turns; resolves when the last one has ended, by itself or by the deadline. */
  async drain(deadline: AbortSignal): Promise<void> {
    this.#draining.abort();
    for (const turn of this.#waiting) turn.abort(noNewTurns);
    const cancelRest = () => {
      for (const turn of this.#running) {
        turn.cancel(new ZlError('server.draining', 'the pod stopped before the turn ended'));
      }
    };
    if (deadline.aborted) cancelRest();
    deadline.addEventListener('abort', cancelRest, { once: true });
    await Promise.all([...this.#running].map((turn) => turn.ended));
    deadline.removeEventListener('abort', cancelRest);
  }
}

/** It did not leave the queue, so there is nothing to record. */
function endUnstarted(error: ZlError, log: TurnLog): TurnEnd {
  log.error(error);
  const at = error.id === 'turn.cancelled' ? 'cancelled' : 'failed';
  const state = { at, step: 0, error } as const;
  return { state, happened: 'nothing', messages: [], answer: '', usage: NOTHING_SPENT };
}

export function newId(): string {
  return randomBytes(16).toString('hex');
}
