import { gaugeFrom, metric, type Registry } from '@zerolatency/telemetry';

type Outcome = 'done' | 'failed' | 'cancelled';
type Phase = 'plan' | 'act' | 'reflect' | 'respond';

export interface TurnEndFigures {
  readonly outcome: Outcome;
  readonly errorId: string;
  readonly seconds: number;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly mergedDeltas: number;
}

/** What the turns of this pod count and time. */
export interface HostMetrics {
  turnEnded(figures: TurnEndFigures): void;
  phaseLeft(phase: Phase, seconds: number): void;
  stepBegun(): void;
  firstToken(seconds: number): void;
  firstTokenAdded(seconds: number): void;
}

export function createHostMetrics(registry: Registry): HostMetrics {
  const turns = metric(registry, 'zl_host_turns_total');
  const durations = metric(registry, 'zl_host_turn_duration_seconds');
  const tokens = metric(registry, 'zl_host_tokens_total');
  const merged = metric(registry, 'zl_host_deltas_merged_total').labels();
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
      merged.inc(figures.mergedDeltas);
    },
    phaseLeft: (phase, seconds) => phases.labels({ phase }).observe(seconds),
    stepBegun: () => steps.inc(),
    firstToken: (seconds) => firstToken.observe(seconds),
    firstTokenAdded: (seconds) => added.observe(seconds),
  };
}

export function exposeRunning(registry: Registry, running: () => number): void {
  gaugeFrom(registry, 'zl_host_turns_running', running);
}
