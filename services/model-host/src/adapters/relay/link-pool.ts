import { ZlError } from '@zerolatency/errors';
import { signPeerToken } from '@zerolatency/identity';
import type { TlsMaterial } from '@zerolatency/service/tls';
import type { Owner } from './directory.ts';
import type { RelayLimits } from './limits.ts';
import { Link, type LinkState } from './link.ts';
import type { RelayMetrics } from './metrics.ts';

export interface LinkPoolOptions {
  readonly tls: { current(): TlsMaterial };
  readonly limits: RelayLimits;
  readonly metrics: RelayMetrics;
  readonly log: LinkLog;
  readonly random: () => number;
  readonly nowMs: () => number;
}

export interface LinkLog {
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
    // A pod that starts anew may keep its address and take another id, for which tokens are signed.
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
    const { tls, limits, metrics, log, random, nowMs } = this.#options;
    const url = owner.linkUrl;
    return new Link({
      url,
      metrics,
      limits,
      random,
      nowMs,
      credentials: async () => {
        // Read once, so that a renewal in between cannot mix two pairs.
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

  /** A pod that was replaced leaves a link nobody uses; it goes when its place is needed. */
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
