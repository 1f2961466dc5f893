import type { Directory, Lease, Log } from '../ports.ts';

/** Leases renewed in one request: a store must not be held up by a large pod. */
const BATCH = 1000;

interface Leaseholder {
  readonly lease: Lease;
  /** Another pod has a newer lease. */
  supersede(): void;
}

export interface LeaseKeeperOptions {
  readonly directory: Directory;
  readonly holders: Iterable<Leaseholder>;
  readonly ttlMs: number;
  readonly log: Log;
}

/** Renews the leases of live devices, and ends the sessions that lost theirs. */
export class LeaseKeeper {
  /** Two renewals may fail before a lease runs out. */
  readonly intervalMs: number;
  readonly #options: LeaseKeeperOptions;
  #isRenewing = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.intervalMs = options.ttlMs / 3;
  }

  /** Never rejects. A directory that is away costs no live session: the device's socket is here. */
  async renewAll(): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    try {
      let batch: Leaseholder[] = [];
      for (const holder of [...this.#options.holders]) {
        batch.push(holder);
        if (batch.length < BATCH) continue;
        await this.#renew(batch);
        batch = [];
      }
      await this.#renew(batch);
    } catch (err) {
      this.#options.log.warn({ err }, 'leases not renewed');
    } finally {
      this.#isRenewing = false;
    }
  }

  async #renew(holders: readonly Leaseholder[]): Promise<void> {
    if (holders.length === 0) return;
    const lost = new Set(await this.#options.directory.renew(holders.map(({ lease }) => lease)));
    for (const holder of holders) if (lost.has(holder.lease)) holder.supersede();
  }
}
