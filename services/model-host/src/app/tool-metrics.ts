import { maskedSecrets, metric, type Registry } from '@zerolatency/service/telemetry';
import type { RelayMetrics } from '../adapters/relay/metrics.ts';
import type { ToolMetrics } from '../calls/ports.ts';

export function toolMetrics(registry: Registry): ToolMetrics {
  const calls = metric(registry, 'zl_host_tool_calls_total');
  const durations = metric(registry, 'zl_host_tool_call_duration_seconds');
  const running = metric(registry, 'zl_host_calls_running').labels();
  const resumes = metric(registry, 'zl_host_call_resumes_total').labels();
  const decisions = metric(registry, 'zl_policy_decisions_total');
  const decisionTime = metric(registry, 'zl_policy_decision_duration_seconds').labels();
  const roundTrips = metric(registry, 'zl_host_to_device_rtt_ms');
  const allowed = decisions.labels({ effect: 'allow' });
  const denied = decisions.labels({ effect: 'deny' });
  return {
    running: (change) => running.inc(change),
    resumed: () => resumes.inc(),
    decided(effect, ms) {
      (effect === 'allow' ? allowed : denied).inc();
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
  return {
    linksOpen: (change) => links.inc(change),
    linkRoundTrip: (ms) => roundTrip.observe(ms),
  };
}
