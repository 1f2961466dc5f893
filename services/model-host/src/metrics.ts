import type { LedgerObserver, RecordKind } from '@zerolatency/ledger';
import { type BundleState, bundleFigures } from '@zerolatency/policy';
import {
  childBy,
  gaugeFrom,
  maskedSecrets,
  metric,
  type Registry,
} from '@zerolatency/service/telemetry';
import { REFUSAL_REASONS, type RefusalReason } from '@zerolatency/signing';
import type { RelayMetrics } from './adapters/relay/link.ts';
import type { ToolMetrics } from './calls/ports.ts';

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

/** Counts and times the requests to one model. */
export interface ProviderMetrics {
  began(seconds: number): void;
  ended(outcome: Outcome, errorId: string): void;
}

/** Counts and times the turns of this pod. */
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

export function toolMetrics(registry: Registry): ToolMetrics {
  const calls = metric(registry, 'zl_host_tool_calls_total');
  const durations = metric(registry, 'zl_host_tool_call_duration_seconds');
  const running = metric(registry, 'zl_host_calls_running').labels();
  const resumes = metric(registry, 'zl_host_call_resumes_total').labels();
  const decisions = metric(registry, 'zl_policy_decisions_total');
  const decisionTime = metric(registry, 'zl_policy_decision_duration_seconds').labels();
  const roundTrips = metric(registry, 'zl_host_to_device_rtt_ms');
  const byEffect = {
    allow: decisions.labels({ effect: 'allow' }),
    deny: decisions.labels({ effect: 'deny' }),
    escalate: decisions.labels({ effect: 'escalate' }),
  };
  return {
    running: (change) => running.inc(change),
    resumed: () => resumes.inc(),
    decided(effect, ms) {
      byEffect[effect].inc();
      decisionTime.observe(ms / 1000);
    },
    ended({ tool, outcome, errorId, ms }) {
      calls.labels({ tool, outcome, error_id: errorId || 'none' }).inc();
      durations.labels({ tool, outcome }).observe(ms / 1000);
    },
    roundTrip: (hop, ms) => roundTrips.labels({ hop }).observe(ms),
    masked: maskedSecrets(registry),
  };
}

export function relayMetrics(registry: Registry): RelayMetrics {
  const links = metric(registry, 'zl_host_links_open').labels();
  const roundTrip = metric(registry, 'zl_host_to_device_rtt_ms').labels({ hop: 'link' });
  const ignored = metric(registry, 'zl_host_frames_ignored_total').labels();
  return {
    linksOpen: (change) => links.inc(change),
    linkRoundTrip: (ms) => roundTrip.observe(ms),
    frameIgnored: () => ignored.inc(),
  };
}

export function ledgerMetrics(registry: Registry): LedgerObserver {
  const records = metric(registry, 'zl_ledger_records_total');
  const byKind = childBy((kind: RecordKind) => records.labels({ kind }));
  const appends = metric(registry, 'zl_ledger_append_duration_seconds').labels();
  const fsyncs = metric(registry, 'zl_ledger_fsync_duration_seconds').labels();
  return {
    recorded: (kind) => byKind(kind).inc(),
    acknowledged: (seconds) => appends.observe(seconds),
    synced: (seconds) => fsyncs.observe(seconds),
  };
}

export function exposeLedger(registry: Registry, size: () => number): void {
  gaugeFrom(registry, 'zl_ledger_size_records', size);
}

export function bundleRefusals(registry: Registry): (reason: RefusalReason) => void {
  const refused = metric(registry, 'zl_policy_bundles_refused_total');
  const byReason = childBy((reason: RefusalReason) => refused.labels({ reason }));
  // A rate sees the first refusal only where there was a zero before it.
  for (const reason of REFUSAL_REASONS) byReason(reason).inc(0);
  return (reason) => byReason(reason).inc();
}

export function exposeBundle(registry: Registry, current: (nowMs: number) => BundleState): void {
  const figures = () => bundleFigures(current(Date.now()), Date.now());
  gaugeFrom(registry, 'zl_policy_bundle_version', () => figures().version);
  gaugeFrom(registry, 'zl_policy_bundle_age_seconds', () => figures().ageSeconds);
  gaugeFrom(registry, 'zl_policy_bundle_expires_seconds', () => figures().expiresSeconds);
}
