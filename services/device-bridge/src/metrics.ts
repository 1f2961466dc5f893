import { fromBinary } from '@bufbuild/protobuf';
import type { Frame } from '@zerolatency/frame';
import { type BundleState, bundleFigures } from '@zerolatency/policy';
import { RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import { childBy, gaugeFrom, metric, type Registry } from '@zerolatency/service/telemetry';
import { REFUSAL_REASONS, type RefusalReason } from '@zerolatency/signing';
import type { EndedCall } from './calls/runner.ts';
import type { Transport } from './ports.ts';
import type { ManagedServer } from './servers/managed-server.ts';
import type { WitnessResult } from './witness/witness.ts';

/** What the bridge counts and times. Children are bound here, once. */
export class BridgeMetrics {
  readonly #registry: Registry;
  readonly #connects;
  readonly #renewals;
  readonly #redirects;
  readonly #calls;
  readonly #durations;
  readonly #refused;
  readonly #ignored;
  readonly #restarts;
  readonly #connected;
  readonly #transport;
  readonly #skew;
  readonly #servers;
  readonly #decisions;
  readonly #bundlesRefused;
  readonly #writes;
  readonly #writeFailures;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#renewals = metric(registry, 'zl_bridge_renewals_total');
    this.#connects = metric(registry, 'zl_bridge_connects_total');
    this.#redirects = metric(registry, 'zl_bridge_redirects_total');
    this.#calls = metric(registry, 'zl_bridge_calls_total');
    this.#durations = metric(registry, 'zl_bridge_call_duration_seconds');
    this.#refused = metric(registry, 'zl_bridge_calls_refused_total');
    this.#ignored = metric(registry, 'zl_bridge_frames_ignored_total').labels();
    this.#restarts = metric(registry, 'zl_bridge_server_restarts_total');
    this.#connected = metric(registry, 'zl_bridge_connected').labels();
    this.#transport = metric(registry, 'zl_bridge_transport');
    this.#skew = metric(registry, 'zl_bridge_clock_skew_seconds').labels();
    this.#servers = metric(registry, 'zl_bridge_servers');
    this.#decisions = metric(registry, 'zl_policy_decisions_total');
    const bundlesRefused = metric(registry, 'zl_policy_bundles_refused_total');
    this.#bundlesRefused = childBy((reason: RefusalReason) => bundlesRefused.labels({ reason }));
    this.#writeFailures = metric(registry, 'zl_bridge_journal_write_failures_total').labels();
    const writes = metric(registry, 'zl_bridge_journal_write_duration_seconds');
    this.#writes = {
      yes: writes.labels({ durable: 'yes' }),
      no: writes.labels({ durable: 'no' }),
    };
  }

  attempted(outcome: 'live' | 'failed' | 'refused'): void {
    this.#connects.labels({ outcome }).inc();
  }

  renewed(outcome: 'renewed' | 'failed'): void {
    this.#renewals.labels({ outcome }).inc();
  }

  redirected(outcome: 'followed' | 'refused'): void {
    this.#redirects.labels({ outcome }).inc();
  }

  /** Over the transport, or not at all. */
  connected(over: Transport | undefined): void {
    this.#connected.set(over === undefined ? 0 : 1);
    for (const transport of ['websocket', 'http_stream'] as const) {
      this.#transport.labels({ transport }).set(transport === over ? 1 : 0);
    }
  }

  clockSkew(aheadMs: number): void {
    this.#skew.set(aheadMs / 1000);
  }

  callEnded({ tool, ending, seconds }: EndedCall): void {
    const { status: outcome, errorId } = ending;
    // A name that only the caller knows would be an unbounded label.
    const name = tool === '' ? 'other' : tool;
    this.#calls.labels({ tool: name, outcome, error_id: errorId === '' ? 'none' : errorId }).inc();
    this.#durations.labels({ tool: name, outcome }).observe(seconds);
  }

  decided(effect: 'allow' | 'deny' | 'escalate'): void {
    this.#decisions.labels({ effect }).inc();
  }

  callRefused({ payload }: Pick<Frame, 'payload'>): void {
    const { reason } = fromBinary(RefusedSchema, payload);
    this.#refused.labels({ reason: (RefusedReason[reason] ?? 'other').toLowerCase() }).inc();
  }

  frameIgnored(): void {
    this.#ignored.inc();
  }

  serverRestarted(server: string): void {
    this.#restarts.labels({ server }).inc();
  }

  serversChanged(servers: readonly ManagedServer[]): void {
    for (const state of ['starting', 'ready', 'failed', 'draining'] as const) {
      const count = servers.filter((server) => server.state.name === state).length;
      this.#servers.labels({ state }).set(count);
    }
  }

  journalFailed(): void {
    this.#writeFailures.inc();
  }

  journalWrote(durable: boolean, seconds: number): void {
    this.#writes[durable ? 'yes' : 'no'].observe(seconds);
  }

  bundleRefused(reason: RefusalReason): void {
    this.#bundlesRefused(reason).inc();
  }

  checkpoints(): (result: WitnessResult) => void {
    const counted = metric(this.#registry, 'zl_bridge_checkpoints_total');
    counted.labels({ result: 'refused' }).inc(0);
    return (result) => counted.labels({ result }).inc();
  }

  callsRunning(read: () => number): void {
    gaugeFrom(this.#registry, 'zl_bridge_calls_running', read);
  }

  journal(journal: { readonly entries: number; readonly resultBytes: number }): void {
    gaugeFrom(this.#registry, 'zl_bridge_journal_entries', () => journal.entries);
    gaugeFrom(this.#registry, 'zl_bridge_journal_bytes', () => journal.resultBytes);
  }

  bundle(current: (nowMs: number) => BundleState): void {
    const figures = () => bundleFigures(current(Date.now()), Date.now());
    gaugeFrom(this.#registry, 'zl_policy_bundle_version', () => figures().version);
    gaugeFrom(this.#registry, 'zl_policy_bundle_age_seconds', () => figures().ageSeconds);
    gaugeFrom(this.#registry, 'zl_policy_bundle_expires_seconds', () => figures().expiresSeconds);
    // A rate sees the first refusal only where there was a zero before it.
    for (const reason of REFUSAL_REASONS) this.#bundlesRefused(reason).inc(0);
  }
}
