import { ZlError } from '@zerolatency/errors';
import type { Identity } from '@zerolatency/identity';
import type { TurnSlots } from '../limits/turn-slots.ts';
import type { TurnScope } from '../ports.ts';
import type { Models } from '../providers/models.ts';
import type { ModelMessage } from '../providers/port.ts';
import { narrowLimits, type TurnLimits } from './limits.ts';
import { Turn, type TurnDeps, type TurnEnd } from './turn.ts';
import { type EventLog, TurnEvents } from './turn-events.ts';
import type { TurnObserver } from './turn-observer.ts';

/** A turn somebody asks for, checked as far as its own text goes. */
export interface TurnAsk {
  readonly identity: Identity;
  readonly turnId: string;
  readonly sessionId: string;
  readonly deviceId: string;
  readonly messages: readonly ModelMessage[];
  readonly limits: Partial<TurnLimits>;
  /** Alias; empty for the default. */
  readonly model: string;
  /** W3C trace context of the request; empty when it has none. */
  readonly traceparent: string;
}

export interface TurnWatch {
  readonly observer: TurnObserver;
  /** Runs the turn inside its span. */
  within<T>(run: () => Promise<T>): Promise<T>;
}

export interface TurnsDeps extends Omit<TurnDeps, 'observer'> {
  readonly models: Models;
  readonly limits: TurnLimits;
  readonly slots: TurnSlots;
  readonly watch: (scope: TurnScope, ask: TurnAsk) => TurnWatch;
}

export interface RunningTurn {
  /** Resolves after the terminal event; never rejects. */
  readonly ended: Promise<TurnEnd>;
  cancel(error: ZlError): void;
}

/** Every turn of this pod: lets them in, and ends them when the pod has to go. */
export class Turns {
  readonly #deps: TurnsDeps;
  readonly #running = new Set<RunningTurn>();
  readonly #draining = new AbortController();

  constructor(deps: TurnsDeps) {
    this.#deps = deps;
  }

  /** Aborts when no new turns are taken any more. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  get running(): number {
    return this.#running.size;
  }

  /** @throws a ZlError when the turn may not start; nothing has happened then. */
  start(ask: TurnAsk, log: EventLog): RunningTurn {
    if (this.draining.aborted) {
      throw new ZlError('server.draining', 'this pod takes no new turns');
    }
    const model = this.#deps.models.resolve(ask.model);
    const limits = narrowLimits(this.#deps.limits, ask.limits);
    const giveBack = this.#deps.slots.take(ask.identity);
    const { identity, sessionId, deviceId, turnId } = ask;
    const scope = { identity, sessionId, deviceId, turnId };
    const { observer, within } = this.#deps.watch(scope, { ...ask, model: model.alias });
    const request = { scope, model, limits, messages: ask.messages, depth: 0 };
    const turn = new Turn(request, { ...this.#deps, observer }, new TurnEvents(log));
    const stop = new AbortController();
    const timer = setTimeout(() => {
      stop.abort(new ZlError('budget.time', `the turn took longer than ${limits.timeoutMs} ms`));
    }, limits.timeoutMs);
    const running: RunningTurn = {
      cancel: (error) => stop.abort(error),
      ended: within(() => turn.run(stop.signal)).finally(() => {
        clearTimeout(timer);
        giveBack();
        this.#running.delete(running);
      }),
    };
    this.#running.add(running);
    return running;
  }

  /** New turns are refused from now; resolves when the last one has ended, by itself or by the deadline. */
  async drain(deadline: AbortSignal): Promise<void> {
    this.#draining.abort();
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
