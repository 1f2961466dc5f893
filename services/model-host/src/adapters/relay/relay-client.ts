import { ZlError } from '@zerolatency/errors';
import type { KeySet } from '@zerolatency/identity';
import { signPeerToken } from '@zerolatency/identity';
import type { ListDevicesResponse } from '@zerolatency/proto/relay';
import type { TlsMaterial } from '@zerolatency/service/tls';
import type { DeviceRoute, DeviceRoutes } from '../../executors/device/routes.ts';
import { createCredentialCheck } from './credential.ts';
import { DEFAULT_RELAY_LIMITS, type RelayLimits } from './limits.ts';
import { Link, type LinkState, type RelayMetrics } from './link.ts';
import { DeviceLocator, type Owner } from './locator.ts';
import { RelayRoute, type RelayRouteOptions } from './route.ts';

export interface RelayClientOptions {
  /** RPC addresses of relay pods; any one of them knows every device. */
  readonly urls: readonly string[];
  readonly tls: { current(): TlsMaterial };
  /** Keys of the enrolment authority. */
  readonly deviceKeys: KeySet['keys'];
  readonly limits?: Partial<RelayLimits>;
  readonly log: LinkLog;
  readonly metrics: RelayMetrics;
  readonly nowMs?: () => number;
}

export interface RelayClient extends DeviceRoutes {
  list(
    tenant: string,
    page?: { pageSize?: number; pageToken?: string; signal?: AbortSignal },
  ): Promise<ListDevicesResponse>;
  status(): { links: ReturnType<LinkPool['status']>; routes: number };
  close(): void;
}

/** Routes to the devices that this host reaches through relays. */
export function createRelayClient(options: RelayClientOptions): RelayClient {
  const { urls, tls, deviceKeys, log, metrics } = options;
  const { nowMs = Date.now } = options;
  const limits = { ...DEFAULT_RELAY_LIMITS, ...options.limits };
  const locator = new DeviceLocator({ urls, tls, timeoutMs: limits.dialTimeoutMs });
  const links = new LinkPool({ tls, limits, metrics, log, nowMs });
  const checkCredential = createCredentialCheck({ deviceKeys, nowMs });
  const routes = new DeviceRouteTable({ locator, links, checkCredential, limits });
  return {
    route: (tenant, deviceId) => routes.get(tenant, deviceId),
    list: (tenant, { pageSize = 0, pageToken = '', signal = AbortSignal.any([]) } = {}) =>
      locator.list({ tenant, pageSize, pageToken }, signal),
    status: () => ({ links: links.status(), routes: routes.size }),
    close() {
      routes.close();
      links.close();
      locator.close();
    },
  };
}

type Shared = Omit<RelayRouteOptions, 'tenant' | 'deviceId' | 'onIdle'>;

class DeviceRouteTable {
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

interface LinkPoolOptions {
  readonly tls: { current(): TlsMaterial };
  readonly limits: RelayLimits;
  readonly metrics: RelayMetrics;
  readonly log: LinkLog;
  readonly nowMs: () => number;
}

interface LinkLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** One link per relay pod. */
export class LinkPool {
  readonly #options: LinkPoolOptions;
  readonly #links = new Map<string, Link>();
  #closed = false;

  constructor(options: LinkPoolOptions) {
    this.#options = options;
  }

  to(owner: Owner): Link | { error: ZlError } {
    const { relayId, linkUrl } = owner;
    // A pod that restarts may keep its address and take another id, for which peer tokens are signed.
    const key = JSON.stringify([relayId, linkUrl]);
    const existing = this.#links.get(key);
    if (existing !== undefined) return existing;
    const { maxLinks } = this.#options.limits;
    if (this.#closed)
      return { error: new ZlError('server.draining', 'this host is shutting down') };
    if (!linkUrl.startsWith('wss://')) {
      const message = `${relayId} names ${linkUrl} as its address, which is not wss://`;
      return { error: new ZlError('relay.unreachable', message) };
    }
    if (!this.#makeRoom()) {
      return {
        error: new ZlError('limit.exceeded', `this host links to ${maxLinks} relay pods at most`),
      };
    }
    const link = this.#create(owner);
    this.#links.set(key, link);
    return link;
  }

  status(): { url: string; state: LinkState['name']; handles: number }[] {
    return [...this.#links.values()].map(({ url, state, handles }) => ({ url, state, handles }));
  }

  close(): void {
    this.#closed = true;
    const links = [...this.#links.values()];
    this.#links.clear();
    for (const link of links) link.close();
  }

  #create(owner: Owner): Link {
    const { tls, limits, metrics, log, nowMs } = this.#options;
    const url = owner.linkUrl;
    return new Link({
      url,
      metrics,
      limits,
      nowMs,
      credentials: async () => {
        // Read once, so that a renewal cannot mix two pairs.
        const material = tls.current();
        const token = await signPeerToken(material, { audience: owner.relayId, nowMs: nowMs() });
        return { ...material, token };
      },
      onState: (state, reason) => {
        if (state === 'lost') log.warn({ url, error: reason?.message }, 'relay link lost');
        else log.info({ url, state }, 'relay link');
      },
    });
  }

  /** A replaced pod leaves an unused link, which is closed when its place is needed. */
  #makeRoom(): boolean {
    if (this.#links.size < this.#options.limits.maxLinks) return true;
    for (const [key, link] of this.#links) {
      if (link.handles > 0) continue;
      link.close();
      this.#links.delete(key);
      return true;
    }
    return false;
  }
}
