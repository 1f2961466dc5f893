import { type Logger, maskedSecrets, metric, type Registry } from '@zerolatency/service/telemetry';
import type { EndedRpc, RpcObserver } from '../rpc/chat.ts';

/** Counts the chat RPCs and logs how they failed. */
export function watchRpcs(registry: Registry, log: Logger): RpcObserver {
  const requests = metric(registry, 'zl_rpc_requests_total');
  const durations = metric(registry, 'zl_rpc_duration_seconds');
  const merged = metric(registry, 'zl_host_deltas_merged_total').labels();
  const open = metric(registry, 'zl_host_streams_open').labels();
  const count = ({ method, error }: Omit<EndedRpc, 'seconds'>) => {
    requests.labels({ method, error_id: error?.id ?? 'none' }).inc();
    if (error === undefined) return;
    const fields = { method, error_id: error.id, err: error };
    // A defect is ours to fix; the client reads every other error.
    if (error.id === 'internal') log.error(fields, 'an RPC failed on a defect');
    else log.info({ method, error_id: error.id }, error.message);
  };
  return {
    opened: () => open.inc(),
    ended(rpc) {
      open.dec();
      durations.labels({ method: rpc.method }).observe(rpc.seconds);
      count(rpc);
    },
    refused: count,
    masked: maskedSecrets(registry),
    deltasMerged: (count) => merged.inc(count),
  };
}
