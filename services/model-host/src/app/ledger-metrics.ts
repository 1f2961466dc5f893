import type { LedgerObserver, RecordKind } from '@zerolatency/ledger';
import { childBy, gaugeFrom, metric, type Registry } from '@zerolatency/service/telemetry';

export function ledgerMetrics(registry: Registry): LedgerObserver {
  const records = metric(registry, 'zl_ledger_records_total');
  const ofKind = childBy((kind: RecordKind) => records.labels({ kind }));
  const appends = metric(registry, 'zl_ledger_append_duration_seconds').labels();
  const fsyncs = metric(registry, 'zl_ledger_fsync_duration_seconds').labels();
  return {
    recorded: (kind) => ofKind(kind).inc(),
    acknowledged: (seconds) => appends.observe(seconds),
    synced: (seconds) => fsyncs.observe(seconds),
  };
}

export function exposeLedger(registry: Registry, size: () => number): void {
  gaugeFrom(registry, 'zl_ledger_size_records', size);
}
