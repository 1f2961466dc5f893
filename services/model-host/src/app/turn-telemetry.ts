import { SpanStatusCode, type Tracer } from '@opentelemetry/api';
import { extract, inSpan, type Logger, type SpanOptions } from '@zerolatency/service/telemetry';
import type { HostMetrics, ProviderMetrics } from '../metrics.ts';
import type { TurnScope } from '../ports.ts';
import type { TurnState } from '../turn/state.ts';
import type { FirstToken, TurnObserver } from '../turn/telemetry.ts';
import type { TurnsDeps } from '../turn/turns.ts';

export interface TurnTelemetryDeps {
  readonly tracer: Tracer;
  readonly metrics: HostMetrics;
  readonly log: Logger;
}

const PHASE_NAMES = {
  planning: 'plan',
  acting: 'act',
  reflecting: 'reflect',
  responding: 'respond',
} as const;

/** Gives each turn a span, its metrics and one log line at its end. */
export function watchTurns(deps: TurnTelemetryDeps): TurnsDeps['watch'] {
  return (scope, { model, traceparent }) => {
    const telemetry = new TurnTelemetry(scope, model, deps);
    const { attributes } = telemetry;
    const parent = traceparent === undefined ? {} : { parent: extract(traceparent) };
    const options = { kind: 'server' as const, ...parent, attributes };
    return { observer: telemetry, within: (run) => within(deps.tracer, telemetry, options, run) };
  };
}

function within<T>(
  tracer: Tracer,
  telemetry: TurnTelemetry,
  options: SpanOptions,
  run: () => Promise<T>,
): Promise<T> {
  return inSpan(tracer, 'turn', options, async (span) => {
    const result = await run();
    span.setAttributes(telemetry.endAttributes);
    if (telemetry.failed) span.setStatus({ code: SpanStatusCode.ERROR });
    return result;
  });
}

class TurnTelemetry implements TurnObserver {
  readonly attributes: Readonly<Record<string, string>>;
  endAttributes: Record<string, string | number> = {};
  failed = false;
  readonly #deps: TurnTelemetryDeps;
  readonly #model: string;
  readonly #provider: ProviderMetrics;
  readonly #startedMs = performance.now();
  #enteredMs = this.#startedMs;

  constructor(
    { identity, sessionId, turnId, deviceId }: TurnScope,
    model: string,
    deps: TurnTelemetryDeps,
  ) {
    this.attributes = {
      tenant: identity.tenant,
      user: identity.user,
      session_id: sessionId,
      turn_id: turnId,
      device_id: deviceId,
    };
    this.#model = model;
    this.#provider = deps.metrics.provider(model);
    this.#deps = deps;
  }

  entered(state: TurnState, left: TurnState): void {
    const nowMs = performance.now();
    if (left.at in PHASE_NAMES) {
      const phase = PHASE_NAMES[left.at as keyof typeof PHASE_NAMES];
      this.#deps.metrics.phaseLeft(phase, (nowMs - this.#enteredMs) / 1000);
    }
    if (state.at === 'planning' || state.at === 'reflecting') this.#deps.metrics.stepBegun();
    this.#enteredMs = nowMs;
  }

  firstToken(figures: FirstToken): void {
    this.#deps.metrics.firstToken(figures.seconds);
    this.#deps.metrics.firstTokenAdded(figures.addedSeconds);
  }

  providerBegan(seconds: number): void {
    this.#provider.began(seconds);
  }

  providerEnded(...[outcome, errorId]: Parameters<TurnObserver['providerEnded']>): void {
    this.#provider.ended(outcome, errorId);
  }

  unrecorded(err: unknown): void {
    this.#deps.log.error({ ...this.attributes, err }, 'the record of a turn could not be written');
  }

  ended(...[state, { auditId, usage }]: Parameters<TurnObserver['ended']>): void {
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const errorId = state.at === 'done' ? 'none' : state.error.id;
    this.failed = state.at === 'failed';
    this.endAttributes = {
      audit_id: auditId,
      outcome: state.at,
      error_id: errorId,
      steps: state.step,
    };
    const figures = {
      outcome: state.at,
      errorId,
      seconds,
      model: this.#model,
      ...usage,
    };
    this.#deps.metrics.turnEnded(figures);
    // The cause never goes to the client; this line is where to find it.
    const cause = state.at === 'failed' ? { err: state.error } : {};
    const fields = { ...this.attributes, ...this.endAttributes, seconds, ...usage, ...cause };
    this.#deps.log[this.failed ? 'warn' : 'info'](fields, 'turn ended');
  }
}
