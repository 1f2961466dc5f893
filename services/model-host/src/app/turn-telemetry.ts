import { SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type { ZlError } from '@zerolatency/errors';
import { extract, inSpan, type Logger, type SpanOptions } from '@zerolatency/service/telemetry';
import type { EndedCall } from '../calls/ports.ts';
import type { RecentTurns, TurnTrace } from '../console/recent-turns.ts';
import type { TurnMetrics } from '../metrics.ts';
import type { TurnScope } from '../ports.ts';
import type { Target } from '../providers/models.ts';
import type { ModelTarget } from '../providers/prices.ts';
import type { Critique } from '../turn/critic.ts';
import type { TurnState } from '../turn/state.ts';
import type { FirstToken, TurnObserver } from '../turn/telemetry.ts';
import type { TurnsDeps } from '../turn/turns.ts';

export interface TurnTelemetryDeps {
  readonly tracer: Tracer;
  readonly metrics: TurnMetrics;
  readonly log: Logger;
  /** Kept for the console, where there is one. */
  readonly recent?: RecentTurns | undefined;
}

/** Gives each turn a span, its metrics and one log line at its end. */
export function watchTurns(deps: TurnTelemetryDeps): TurnsDeps['watch'] {
  const noteUnpriced = unpricedNotes(deps.log);
  return (scope, { model, traceparent }) => {
    const telemetry = new TurnTelemetry(scope, model, { ...deps, noteUnpriced });
    const { attributes } = telemetry;
    const parent = traceparent === undefined ? {} : { parent: extract(traceparent) };
    const options = { kind: 'server' as const, ...parent, attributes };
    return { observer: telemetry, within: (run) => within(deps.tracer, telemetry, options, run) };
  };
}

/** One line for each model without a price; the metric counts its requests. */
function unpricedNotes(log: Logger): (target: ModelTarget) => void {
  const noted = new Set<string>();
  return ({ provider, model }) => {
    const key = JSON.stringify([provider, model]);
    if (noted.has(key)) return;
    noted.add(key);
    log.warn(
      { provider, model },
      'the price table has no price for a model, so what it costs is unknown; add one in providers.pricesFile',
    );
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

/** One line for each call, in its span, so that its trace leads to the lines of the other programs. */
export function logCalls(log: Pick<Logger, 'info'>): (call: EndedCall) => void {
  return ({ callId, tool, executor, scope, decision, result }) => {
    const { outcome, error, totalUs, remoteUs, deviceUs, serverUs, receiptJson } = result;
    const decided = decision && {
      effect: decision.effect,
      ruleId: decision.ruleId,
      policyId: decision.policyId,
    };
    const fields = {
      ...attributesOf(scope),
      ...{ callId, tool, executor, ...decided, outcome },
      ...(error && { errorId: error.id, why: error.message }),
      ...{ totalUs, remoteUs, deviceUs, serverUs, isRecorded: receiptJson !== '' },
    };
    log.info(fields, 'call ended');
  };
}

function attributesOf({ identity, sessionId, turnId, deviceId }: TurnScope) {
  return {
    tenant: identity.tenant,
    user: identity.user,
    session_id: sessionId,
    turn_id: turnId,
    device_id: deviceId,
  };
}

interface ObservedTurnDeps extends TurnTelemetryDeps {
  readonly noteUnpriced: (target: ModelTarget) => void;
}

type Phase = keyof TurnMetrics['phases'];

function isPhase(state: TurnState['at']): state is Phase {
  return state !== 'admitted' && state !== 'done' && state !== 'failed' && state !== 'cancelled';
}

class TurnTelemetry implements TurnObserver {
  readonly attributes: Readonly<Record<string, string>>;
  endAttributes: Record<string, string | number> = {};
  failed = false;
  /** Of the last critique. */
  #criticAttributes: Record<string, string> = {};
  readonly #deps: ObservedTurnDeps;
  readonly #model: string;
  readonly #trace: TurnTrace | undefined;
  readonly #startedMs = performance.now();
  #enteredMs = this.#startedMs;

  constructor(scope: TurnScope, model: string, deps: ObservedTurnDeps) {
    this.attributes = attributesOf(scope);
    this.#model = model;
    this.#deps = deps;
    this.#trace = deps.recent?.began(scope, model);
  }

  entered(state: TurnState, { at: left }: TurnState): void {
    this.#trace?.entered(state);
    const { phases, steps } = this.#deps.metrics;
    const nowMs = performance.now();
    const seconds = (nowMs - this.#enteredMs) / 1000;
    if (isPhase(left)) phases[left].observe(seconds);
    if (state.at === 'planning' || state.at === 'reflecting') steps.inc();
    this.#enteredMs = nowMs;
  }

  firstToken({ seconds, addedSeconds }: FirstToken): void {
    this.#deps.metrics.firstToken.observe(seconds);
    this.#deps.metrics.addedFirstToken.observe(addedSeconds);
  }

  providerBegan(target: Target, seconds: number): void {
    this.#trace?.providerBegan(seconds);
    this.#deps.metrics.firstPart.labels(this.#labelsOf(target)).observe(seconds);
  }

  providerEnded(...[target, outcome, errorId]: Parameters<TurnObserver['providerEnded']>): void {
    const labels = { ...this.#labelsOf(target), outcome, error_id: errorId };
    this.#deps.metrics.requests.labels(labels).inc();
  }

  fellBack(error: ZlError, from: Target, to: Target): void {
    const { metrics, log } = this.#deps;
    const kind = from === to ? 'same' : 'other';
    metrics.fallbacks.labels({ model: this.#model, to: kind, error_id: error.id }).inc();
    const fields = { ...this.attributes, alias: this.#model, from: nameOf(from), to: nameOf(to) };
    log.warn({ ...fields, err: error }, 'a request to a model is repeated');
  }

  #labelsOf({ provider, model }: Target) {
    return { model: this.#model, provider: provider.name, provider_model: model };
  }

  charged(...[target, costNanoUsd]: Parameters<TurnObserver['charged']>): void {
    const { cost, unpriced } = this.#deps.metrics;
    const labels = { provider: target.provider, model: this.#model };
    if (costNanoUsd === undefined) {
      unpriced.labels(labels).inc();
      this.#deps.noteUnpriced(target);
    } else cost.labels(labels).inc(usdOf(costNanoUsd));
  }

  critiqued({ verdict, error }: Critique): void {
    const counted = error === undefined ? verdict : 'failed';
    this.#criticAttributes = { critic_verdict: counted };
    this.#deps.metrics.critiques.labels({ verdict: counted }).inc();
  }

  unreadable(place: Parameters<TurnObserver['unreadable']>[0]): void {
    this.#deps.metrics.unreadable.labels({ place }).inc();
  }

  unrecorded(err: unknown): void {
    this.#deps.log.error({ ...this.attributes, err }, 'the record of a turn could not be written');
  }

  ended(...[state, { auditId, usage, answered }]: Parameters<TurnObserver['ended']>): void {
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const errorId = state.at === 'done' ? 'none' : state.error.id;
    this.failed = state.at === 'failed';
    this.#trace?.ended({ outcome: state.at, errorId, auditId });
    this.endAttributes = {
      audit_id: auditId,
      outcome: state.at,
      error_id: errorId,
      steps: state.step,
      ...this.#criticAttributes,
      // What a model without a price costs is unknown, and so is a sum that it belongs to.
      ...(usage.unpricedCalls === 0 && { cost_usd: usdOf(usage.costNanoUsd) }),
      ...(answered && { provider: answered.provider.name, model: answered.model }),
    };
    const { turns, durations, tokens } = this.#deps.metrics;
    turns.labels({ outcome: state.at, error_id: errorId }).inc();
    durations.labels({ outcome: state.at }).observe(seconds);
    tokens.labels({ model: this.#model, direction: 'input' }).inc(usage.inputTokens);
    tokens.labels({ model: this.#model, direction: 'output' }).inc(usage.outputTokens);
    // The cause never goes to the client; this line is where to find it.
    const cause = state.at === 'failed' ? { err: state.error } : {};
    const { costNanoUsd: _, ...tokenCounts } = usage;
    const fields = { ...this.attributes, ...this.endAttributes, seconds, ...tokenCounts, ...cause };
    this.#deps.log[this.failed ? 'warn' : 'info'](fields, 'turn ended');
  }
}

function usdOf(nanoUsd: number): number {
  return nanoUsd / 1e9;
}

function nameOf({ provider, model }: Target): string {
  return `${provider.name}/${model}`;
}
