import { ZlError } from '@zerolatency/errors';
import {
  type DeviceIdentity,
  HOST_CREDENTIAL_TOLERANCE_S,
  type KeySet,
  signPeerToken,
  verifyDeviceCredential,
} from '@zerolatency/identity';
import type { ListDevicesResponse } from '@zerolatency/proto/relay';
import type { Revocations } from '@zerolatency/revocations';
import { steadyClock } from '@zerolatency/service/steady-clock';
import type { TlsMaterial } from '@zerolatency/service/tls';
import { type Verifier, verifierFromJwk } from '@zerolatency/signing';
import { LRUCache } from 'lru-cache';
import type { DeviceRoute, DeviceRoutes } from '../../executors/device/remote-call.ts';
import { DEFAULT_RELAY_LIMITS, type RelayLimits } from './limits.ts';
import { Link, type LinkState, type RelayMetrics } from './link.ts';
import { DeviceLocator, type LocatedRelay } from './locator.ts';
import { RelayPods } from './relay-pods.ts';
import { RelayRoute, type RelayRouteOptions } from './route.ts';

export interface RelayClientOptions {
  /** RPC addresses of relay pods, or DNS names of many; any pod knows every device. */
  readonly urls: readonly string[];
  readonly tls: { current(): TlsMaterial };
  readonly deviceKeys: KeySet['keys'];
  /** Without it no device is revoked. */
  readonly revocations?: Pick<Revocations, 'fault' | 'listed' | 'onChange'> | undefined;
  readonly limits?: Partial<RelayLimits>;
  readonly log: LinkLog;
  readonly metrics: RelayMetrics;
  readonly nowMs?: () => number;
}

export interface RelayClient extends DeviceRoutes {
  list(tenant: string, signal: AbortSignal): Promise<ListDevicesResponse>;
  status(): { links: ReturnType<LinkPool['status']>; routes: number };
  close(): void;
}

/** Routes to the devices that this host reaches through relays. */
export function createRelayClient(options: RelayClientOptions): RelayClient {
  const { urls, tls, deviceKeys, revocations, log, metrics, nowMs = Date.now } = options;
  const limits = { ...DEFAULT_RELAY_LIMITS, ...options.limits };
  const relayClock = new RelayClock(nowMs);
  const locator = new DeviceLocator({
    ...{ tls, timeoutMs: limits.dialTimeoutMs, hedgeMs: limits.hedgeMs },
    pods: new RelayPods(urls),
    onTime: (relayUnixMs) => relayClock.read(relayUnixMs),
  });
  const links = new LinkPool({ tls, limits, metrics, log, relayNowMs: () => relayClock.nowMs() });
  const checkCredential = credentialCheck({ deviceKeys, revocations, nowMs });
  const onClock = (journalMs: number) => metrics.deviceSkew(journalMs - nowMs());
  const routes = new DeviceRouteTable({ locator, links, checkCredential, limits, onClock });
  revocations?.onChange(() => routes.recheck(revocations.listed()));
  return {
    route: (tenant, deviceId) => routes.get(tenant, deviceId),
    list: (tenant, signal) => locator.list(tenant, signal),
    status: () => ({ links: links.status(), routes: routes.size }),
    close() {
      routes.close();
      links.close();
      locator.close();
    },
  };
}

/** The relays' time of day, by which they judge the tokens of links: this host's may be wrong. */
class RelayClock {
  readonly #steadyMs = steadyClock();
  #aheadMs: number;

  /** `nowMs` is the time of day until a relay has stated its own. */
  constructor(nowMs: () => number) {
    this.#aheadMs = nowMs() - this.#steadyMs();
  }

  read(relayUnixMs: number): void {
    this.#aheadMs = relayUnixMs - this.#steadyMs();
  }

  nowMs(): number {
    return this.#steadyMs() + this.#aheadMs;
  }
}

export type CredentialCheck = (
  credential: string,
  device: { tenant: string; deviceId: string },
) => Promise<CheckedCredential | { error: ZlError }>;

export interface CheckedCredential {
  readonly verifier: Verifier;
  /** Why it must not be used now, although it is genuine. */
  fault(): ZlError | undefined;
}

/**
 * The relay passes the credential on; the host trusts only the authority's
 * signature, so a stolen relay cannot substitute a device key of its own.
 */
function credentialCheck({
  deviceKeys,
  revocations,
  nowMs,
}: Pick<RelayClientOptions, 'deviceKeys' | 'revocations'> & {
  readonly nowMs: () => number;
}): CredentialCheck {
  return async (credential, { tenant, deviceId }) => {
    const rules = { nowMs: nowMs(), toleranceS: HOST_CREDENTIAL_TOLERANCE_S };
    const { value, error } = await verifyDeviceCredential(credential, deviceKeys(), rules);
    if (error !== undefined) {
      return invalid(`the credential of ${deviceId} does not verify: ${error}`);
    }
    if (value.device.deviceId !== deviceId || value.device.tenant !== tenant) {
      return invalid(`the credential belongs to another device than ${deviceId}`);
    }
    try {
      const { issuedAtMs } = value;
      const verifier = verifierFromJwk({ ...value.key.jwk });
      return { verifier, fault: () => revocations?.fault({ tenant, deviceId, issuedAtMs }) };
    } catch (cause) {
      return invalid(`the key in the credential of ${deviceId} cannot be used`, cause);
    }
  };
}

function invalid(message: string, cause?: unknown): { error: ZlError } {
  return { error: new ZlError('device.credential_invalid', message, { cause }) };
}

function routeKey(tenant: string, deviceId: string): string {
  return JSON.stringify([tenant, deviceId]);
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

  /** Also a relay that was stolen cannot keep a revoked device in use. */
  recheck(devices: Iterable<DeviceIdentity>): void {
    for (const { tenant, deviceId } of devices) {
      this.#routes.get(routeKey(tenant, deviceId))?.recheck();
    }
  }

  get(tenant: string, deviceId: string): DeviceRoute {
    const key = routeKey(tenant, deviceId);
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

interface LinkPoolOptions extends Pick<RelayClientOptions, 'tls' | 'metrics' | 'log'> {
  readonly limits: RelayLimits;
  readonly relayNowMs: () => number;
}

interface LinkLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export class LinkPool {
  readonly #options: LinkPoolOptions;
  readonly #links = new Map<string, Link>();
  readonly #lostAtMs: LRUCache<string, number>;
  #closed = false;

  constructor(options: LinkPoolOptions) {
    this.#options = options;
    this.#lostAtMs = new LRUCache({ max: options.limits.maxLinks });
  }

  /** When the link to a pod was last lost, not made, or about to end. */
  lostAtMs(relayId: string): number {
    return this.#lostAtMs.get(relayId) ?? Number.NEGATIVE_INFINITY;
  }

  to(owner: LocatedRelay): Link | { error: ZlError } {
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
      const message = `this host links to ${maxLinks} relay pods at most`;
      return { error: new ZlError('limit.exceeded', message) };
    }
    const link = this.#create(owner, () => this.#links.delete(key));
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

  #create(owner: LocatedRelay, onIdle: () => void): Link {
    const { tls, limits, metrics, log, relayNowMs } = this.#options;
    const url = owner.linkUrl;
    return new Link({
      ...{ url, metrics, limits, onIdle },
      credentials: async () => {
        // Read once, so that a renewal cannot mix two pairs.
        const material = tls.current();
        const token = await signPeerToken(material, {
          audience: owner.relayId,
          nowMs: relayNowMs(),
        });
        return { ...material, token };
      },
      onState: (state, reason) => {
        if (state === 'lost' || state === 'draining') {
          this.#lostAtMs.set(owner.relayId, performance.now());
        }
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
