import type { KeySet } from '@zerolatency/identity';
import type { ListDevicesResponse } from '@zerolatency/proto/relay';
import type { TlsMaterial } from '@zerolatency/service/tls';
import type { DeviceRoute, DeviceRoutes } from '../../executors/device/routes.ts';
import { createCredentialCheck } from './credential.ts';
import { Directory } from './directory.ts';
import { defaultRelayLimits, type RelayLimits } from './limits.ts';
import { type LinkLog, LinkPool } from './link-pool.ts';
import type { RelayMetrics } from './metrics.ts';
import { RelayRoute, type RelayRouteOptions } from './relay-route.ts';

export interface DevicesOptions {
  /** RPC addresses of relay pods; any one of them knows every device. */
  readonly urls: readonly string[];
  readonly tls: { current(): TlsMaterial };
  /** Keys of the enrolment authority. */
  readonly deviceKeys: KeySet['keys'];
  readonly limits?: Partial<RelayLimits>;
  readonly log: LinkLog;
  readonly metrics: RelayMetrics;
  readonly random?: () => number;
  readonly nowMs?: () => number;
}

export interface Devices extends DeviceRoutes {
  list(
    tenant: string,
    page?: { pageSize?: number; pageToken?: string; signal?: AbortSignal },
  ): Promise<ListDevicesResponse>;
  status(): { links: ReturnType<LinkPool['status']>; routes: number };
  close(): void;
}

/** The devices that this host reaches through the relay. */
export function createDevices(options: DevicesOptions): Devices {
  const { urls, tls, deviceKeys, log, metrics } = options;
  const { random = Math.random, nowMs = Date.now } = options;
  const limits = { ...defaultRelayLimits, ...options.limits };
  const directory = new Directory({ urls, tls, timeoutMs: limits.dialTimeoutMs });
  const links = new LinkPool({ tls, limits, metrics, log, random, nowMs });
  const checkCredential = createCredentialCheck({ deviceKeys, nowMs });
  const routes = new RouteTable({ directory, links, checkCredential, limits, random });
  return {
    route: (tenant, deviceId) => routes.get(tenant, deviceId),
    list: (tenant, { pageSize = 0, pageToken = '', signal = AbortSignal.any([]) } = {}) =>
      directory.list({ tenant, pageSize, pageToken }, signal),
    status: () => ({ links: links.status(), routes: routes.size }),
    close() {
      routes.close();
      links.close();
      directory.close();
    },
  };
}

type Shared = Omit<RelayRouteOptions, 'tenant' | 'deviceId' | 'onIdle'>;

class RouteTable {
  readonly #shared: Shared;
  readonly #routes = new Map<string, RelayRoute>();

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  get size(): number {
    return this.#routes.size;
  }

  get(tenant: string, deviceId: string): DeviceRoute {
    const key = JSON.stringify([tenant, deviceId]);
    const existing = this.#routes.get(key);
    if (existing !== undefined) return existing;
    if (this.#routes.size >= this.#shared.limits.maxRoutes) this.#dropUnused();
    const route = new RelayRoute({
      ...this.#shared,
      tenant,
      deviceId,
      onIdle: () => this.#routes.delete(key),
    });
    this.#routes.set(key, route);
    return route;
  }

  close(): void {
    const routes = [...this.#routes.values()];
    this.#routes.clear();
    for (const route of routes) route.close();
  }

  /** Every route in use belongs to a turn, and turns are bounded elsewhere. */
  #dropUnused(): void {
    for (const [key, route] of this.#routes) {
      if (route.needed) continue;
      this.#routes.delete(key);
      route.close();
      return;
    }
  }
}
