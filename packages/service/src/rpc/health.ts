import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import {
  type Health,
  HealthCheckResponse_ServingStatus as Status,
} from '@zerolatency/proto/health';

/** Whether the process takes work, and when that changes. */
export interface Serving {
  readonly accepting: boolean;
  /** Returns how to unsubscribe. */
  onChange(listener: () => void): () => void;
}

/** grpc.health.v1 as the ecosystem's probes and load balancers ask it. */
export function healthService(
  serving: Serving,
  { service: own }: { readonly service: string },
): ServiceImpl<typeof Health> {
  // The empty name is the server as a whole.
  const services = ['', own];
  const status = () => (serving.accepting ? Status.SERVING : Status.NOT_SERVING);
  return {
    check: ({ service }) => {
      if (services.includes(service)) return { status: status() };
      throw new ConnectError(`unknown service "${service.slice(0, 100)}"`, Code.NotFound);
    },
    list: () => ({
      statuses: Object.fromEntries(services.map((service) => [service, { status: status() }])),
    }),
    watch: async function* ({ service }, { signal }) {
      // The protocol has a watcher of an unknown service wait, in case it comes to exist.
      const statusNow = services.includes(service) ? status : () => Status.SERVICE_UNKNOWN;
      let sent: Status | undefined;
      while (!signal.aborted) {
        const now = statusNow();
        if (now === sent) {
          await changed(serving, signal);
          continue;
        }
        sent = now;
        // It may change while this is sent, so the loop looks again before it waits.
        yield { status: now };
      }
    },
  };
}

function changed(serving: Serving, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      signal.removeEventListener('abort', finish);
      unsubscribe();
      resolve();
    };
    const unsubscribe = serving.onChange(finish);
    signal.addEventListener('abort', finish, { once: true });
    if (signal.aborted) finish();
  });
}
