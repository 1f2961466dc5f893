import type { Interceptor } from '@connectrpc/connect';
import type { Tracer } from '@opentelemetry/api';
import { fromConnectError, toConnectError } from '@zerolatency/service/rpc';
import { extract, inSpan, metric, type Registry } from '@zerolatency/service/telemetry';

export interface WatchOptions {
  readonly registry: Registry;
  readonly tracer: Tracer;
}

/** Records a span, a duration and a count per RPC, and converts failures to RPC errors. */
export function watchRpcs({ registry, tracer }: WatchOptions): Interceptor {
  const requests = metric(registry, 'zl_rpc_requests_total');
  const durations = metric(registry, 'zl_rpc_duration_seconds');
  return (next) => async (request) => {
    const method = request.method.name;
    const startedAtMs = performance.now();
    const parent = extract(request.header.get('traceparent') ?? undefined);
    let errorId = 'none';
    try {
      return await inSpan(tracer, method, { kind: 'server', parent }, () =>
        next(request).catch((reason: unknown) => {
          const error = fromConnectError(reason);
          errorId = error.id;
          throw error;
        }),
      );
    } catch (reason) {
      throw toConnectError(reason);
    } finally {
      requests.labels({ method, error_id: errorId }).inc();
      durations.labels({ method }).observe((performance.now() - startedAtMs) / 1000);
    }
  };
}
