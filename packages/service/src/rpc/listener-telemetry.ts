import { counted } from '@zerolatency/service/counted';
import {
  gaugeFrom,
  type Logger,
  LogThrottle,
  metric,
  type Registry,
} from '@zerolatency/service/telemetry';
import type { ComponentCheck } from '../lifecycle/admin-server.ts';
import { CUT_REASONS } from './connection.ts';
import type { HttpServer, ListenerObserver } from './http-server.ts';

/** Counts and logs what a listener refuses. */
export function watchListener(registry: Registry, log: Logger): ListenerObserver {
  const total = metric(registry, 'zl_rpc_cut_total');
  const byReason = new Map(CUT_REASONS.map((reason) => [reason, total.labels({ reason })]));
  // A rate sees the first one only where there was a zero before it.
  for (const counter of byReason.values()) counter.inc(0);
  const throttle = new LogThrottle(1);
  return {
    cut(reason, network) {
      byReason.get(reason)?.inc();
      const unlogged = throttle.take(reason, performance.now());
      if (unlogged === undefined) return;
      const count = unlogged + 1;
      log.warn({ reason, count, network }, 'RPC connections or streams cut; at most once a minute');
    },
    fewDescriptors: (connections) =>
      log.warn(
        { connections },
        'rpc.connections.max exceeds what the limit on open files allows; raise "ulimit -n"',
      ),
    accepting(isAccepting) {
      if (isAccepting) log.info({}, 'RPC connections are accepted again');
      else log.error({}, 'no file descriptors left: RPC connections are not accepted');
    },
  };
}

/** What is open, for scrapes and for the component report. */
export function exposeListener(
  registry: Registry,
  server: Pick<HttpServer, 'connections' | 'isAccepting'>,
): ComponentCheck {
  const { connections } = server;
  gaugeFrom(registry, 'zl_rpc_connections_open', () => connections.size);
  gaugeFrom(registry, 'zl_rpc_connections_unproved', () => connections.unproved);
  gaugeFrom(registry, 'zl_rpc_accepting', () => Number(server.isAccepting));
  return async () => ({
    status: server.isAccepting ? 'ok' : 'degraded',
    detail: server.isAccepting
      ? `${counted(connections.size, 'connection')}, ${connections.unproved} not authenticated`
      : 'no file descriptors left: connections are not accepted',
  });
}
