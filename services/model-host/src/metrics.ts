import type { ErrorId } from '@zerolatency/errors';
import type { LedgerObserver, RecordKind } from '@zerolatency/ledger';
import { type BundleState, bundleFigures } from '@zerolatency/policy';
import type { RevocationFigures } from '@zerolatency/revocations';
import {
  childBy,
  gaugeFrom,
  maskedSecrets,
  metric,
  metricFrom,
  type Registry,
} from '@zerolatency/service/telemetry';
import { REFUSAL_REASONS, type RefusalReason } from '@zerolatency/signing';
import type { RelayMetrics } from './adapters/relay/link.ts';
import type { ToolMetrics } from './calls/ports.ts';
import type { QuotaMetrics } from './limits/quotas.ts';
import type { TurnSlotsOptions } from './limits/turn-slots.ts';
import type { Target } from './providers/models.ts';
import type { WitnessRequestResult } from './witnesses/witnesses.ts';

export type TurnMetrics = ReturnType<typeof turnMetrics>;

/** What turns and their requests to providers count. */
export function turnMetrics(registry: Registry) {
  const phases = metric(registry, 'zl_host_phase_duration_seconds');
  return {
    turns: metric(registry, 'zl_host_turns_total'),
    durations: metric(registry, 'zl_host_turn_duration_seconds'),
    tokens: metric(registry, 'zl_host_tokens_total'),
    cost: metric(registry, 'zl_host_cost_usd_total'),
    unpriced: metric(registry, 'zl_host_unpriced_requests_total'),
    steps: metric(registry, 'zl_host_steps_total').labels(),
    phases: {
      planning: phases.labels({ phase: 'plan' }),
      acting: phases.labels({ phase: 'act' }),
      reflecting: phases.labels({ phase: 'reflect' }),
      critiquing: phases.labels({ phase: 'critique' }),
      responding: phases.labels({ phase: 'respond' }),
    },
    firstToken: metric(registry, 'zl_host_time_to_first_token_seconds').labels(),
    addedFirstToken: metric(registry, 'zl_host_added_first_token_seconds').labels(),
    requests: metric(registry, 'zl_host_provider_requests_total'),
    critiques: metric(registry, 'zl_host_critiques_total'),
    unreadable: metric(registry, 'zl_host_unreadable_replies_total'),
    firstPart: metric(registry, 'zl_host_provider_first_token_seconds'),
    fallbacks: metric(registry, 'zl_host_provider_fallbacks_total'),
  };
}

export function exposeRunning(registry: Registry, running: () => number): void {
  gaugeFrom(registry, 'zl_host_turns_running', running);
}

export function modelTableReads(registry: Registry): (result: 'applied' | 'refused') => void {
  const reads = metric(registry, 'zl_host_model_tables_read_total');
  for (const result of ['applied', 'refused']) reads.labels({ result }).inc(0);
  return (result) => reads.labels({ result }).inc();
}

const BREAKER_STATES = { closed: 0, 'half-open': 1, open: 2 } as const;

export function exposeBreakers(registry: Registry, targets: () => readonly Target[]): void {
  metricFrom(registry, 'zl_host_provider_breaker_state', () =>
    targets().map(({ provider, model, breaker }) => [
      { provider: provider.name, provider_model: model },
      BREAKER_STATES[breaker.state],
    ]),
  );
}

export function exposeTurnLogs(registry: Registry, bytes: () => number): void {
  gaugeFrom(registry, 'zl_host_turn_log_bytes', bytes);
}

export function exposeWaiting(registry: Registry, waiting: () => number): void {
  gaugeFrom(registry, 'zl_host_turns_waiting', waiting);
}

export function queueWaits(registry: Registry): NonNullable<TurnSlotsOptions['onWaited']> {
  const waits = metric(registry, 'zl_host_turn_queue_seconds');
  return (seconds, outcome) => waits.labels({ outcome }).observe(seconds);
}

const LIMIT_LABELS = {
  requests: 'requests',
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  toolCalls: 'tool_calls',
  usd: 'usd',
  turns: 'turns',
} as const;

export function quotaMetrics(registry: Registry): QuotaMetrics {
  const decisions = metric(registry, 'zl_host_limit_decisions_total');
  const refusals = metric(registry, 'zl_host_limit_refusals_total');
  const switches = metric(registry, 'zl_host_limit_switches_total');
  for (const to of ['redis', 'pod']) switches.labels({ to }).inc(0);
  return {
    decided: (by, isTaken) =>
      decisions.labels({ by, result: isTaken ? 'admitted' : 'refused' }).inc(),
    refused: (owner, limit) => refusals.labels({ owner, limit: LIMIT_LABELS[limit] }).inc(),
    switched: (to) => switches.labels({ to }).inc(),
  };
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
  const skew = metric(registry, 'zl_host_device_clock_skew_seconds').labels();
  return {
    linksOpen: (change) => links.inc(change),
    linkRoundTrip: (ms) => roundTrip.observe(ms),
    deviceSkew: (aheadMs) => skew.observe(Math.abs(aheadMs) / 1000),
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

export function keySetReads(
  registry: Registry,
): (issuer: string, result: ErrorId | 'none') => void {
  const reads = metric(registry, 'zl_identity_key_set_reads_total');
  const readAt = metric(registry, 'zl_identity_key_set_read_timestamp_seconds');
  return (issuer, result) => {
    reads.labels({ issuer, error_id: result }).inc();
    if (result === 'none') readAt.labels({ issuer }).set(Date.now() / 1000);
  };
}

export function checkpointExports(registry: Registry): (result: 'done' | 'failed') => void {
  const attempts = metric(registry, 'zl_ledger_checkpoint_exports_total');
  for (const result of ['done', 'failed']) attempts.labels({ result }).inc(0);
  return (result) => attempts.labels({ result }).inc();
}

export function exposeExport(registry: Registry, currentAtMs: () => number): void {
  const name = 'zl_ledger_checkpoint_exported_timestamp_seconds';
  gaugeFrom(registry, name, () => currentAtMs() / 1000);
}

export function witnessRequests(registry: Registry): (result: WitnessRequestResult) => void {
  const requests = metric(registry, 'zl_ledger_witness_requests_total');
  for (const result of ['witnessed', 'contradicted'] as const) requests.labels({ result }).inc(0);
  return (result) => requests.labels({ result }).inc();
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

export function revocationRefusals(registry: Registry): (reason: RefusalReason) => void {
  const refused = metric(registry, 'zl_revocations_refused_total');
  const byReason = childBy((reason: RefusalReason) => refused.labels({ reason }));
  for (const reason of REFUSAL_REASONS) byReason(reason).inc(0);
  return (reason) => byReason(reason).inc();
}

export function exposeRevocations(registry: Registry, figures: () => RevocationFigures): void {
  gaugeFrom(registry, 'zl_revocations_version', () => figures().version);
  gaugeFrom(registry, 'zl_revocations_devices', () => figures().devices);
  gaugeFrom(registry, 'zl_revocations_silent_seconds', () => figures().silentSeconds);
}

export function exposeBundle(registry: Registry, current: (nowMs: number) => BundleState): void {
  const figures = () => bundleFigures(current(Date.now()), Date.now());
  gaugeFrom(registry, 'zl_policy_bundle_version', () => figures().version);
  gaugeFrom(registry, 'zl_policy_bundle_age_seconds', () => figures().ageSeconds);
  gaugeFrom(registry, 'zl_policy_bundle_expires_seconds', () => figures().expiresSeconds);
}
