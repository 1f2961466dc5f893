import { childBy, gaugeFrom, metric, type Registry } from '@zerolatency/service/telemetry';

type Outcome = 'done' | 'failed' | 'cancelled';
type Phase = 'plan' | 'act' | 'reflect' | 'respond';

export interface TurnEndFigures {
  readonly outcome: Outcome;
  readonly errorId: string;
  readonly seconds: number;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** The requests to one model. */
export interface ProviderMetrics {
  began(seconds: number): void;
  ended(outcome: Outcome, errorId: string): void;
}

/** What the turns of this pod count and time. */
export interface HostMetrics {
  turnEnded(figures: TurnEndFigures): void;
  phaseLeft(phase: Phase, seconds: number): void;
  stepBegun(): void;
  firstToken(seconds: number): void;
  firstTokenAdded(seconds: number): void;
  /** By its alias. */
  provider(model: string): ProviderMetrics;
}

export function createHostMetrics(registry: Registry): HostMetrics {
  const turns = metric(registry, 'zl_host_turns_total');
  const durations = metric(registry, 'zl_host_turn_duration_seconds');
  const tokens = metric(registry, 'zl_host_tokens_total');
  const steps = metric(registry, 'zl_host_steps_total').labels();
  const phases = metric(registry, 'zl_host_phase_duration_seconds');
  const firstToken = metric(registry, 'zl_host_time_to_first_token_seconds').labels();
  const added = metric(registry, 'zl_host_added_first_token_seconds').labels();
  return {
    turnEnded(figures) {
      const { outcome, errorId, model } = figures;
      turns.labels({ outcome, error_id: errorId }).inc();
      durations.labels({ outcome }).observe(figures.seconds);
      tokens.labels({ model, direction: 'input' }).inc(figures.inputTokens);
      tokens.labels({ model, direction: 'output' }).inc(figures.outputTokens);
    },
    phaseLeft: (phase, seconds) => phases.labels({ phase }).observe(seconds),
    stepBegun: () => steps.inc(),
    firstToken: (seconds) => firstToken.observe(seconds),
    firstTokenAdded: (seconds) => added.observe(seconds),
    provider: childBy((model) => providerMetrics(registry, model)),
  };
}

function providerMetrics(registry: Registry, model: string): ProviderMetrics {
  const requests = metric(registry, 'zl_host_provider_requests_total');
  const firstPart = metric(registry, 'zl_host_provider_first_token_seconds').labels({ model });
  const done = requests.labels({ model, outcome: 'done', error_id: 'none' });
  return {
    began: (seconds) => firstPart.observe(seconds),
    ended(outcome, errorId) {
      if (outcome === 'done') done.inc();
      else requests.labels({ model, outcome, error_id: errorId }).inc();
    },
  };
}

export function exposeRunning(registry: Registry, running: () => number): void {
  gaugeFrom(registry, 'zl_host_turns_running', running);
}
