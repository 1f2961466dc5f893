import type { Log } from '../ports.ts';
import type { Directory, Lease } from './directory.ts';

/** Leases renewed at once, so that a large pod delays neither its own frames nor the store. */
const BATCH = 250;
/** Two renewals may fail before a lease expires. */
const RENEWALS_PER_TTL = 3;

interface Leaseholder {
  readonly lease: Lease;
  /** Another pod has a newer lease. */
  supersede(): void;
}

export interface LeaseKeeperOptions {
  readonly directory: Pick<Directory, 'renew'>;
  readonly holders: Iterable<Leaseholder>;
  readonly ttlMs: number;
  readonly log: Log;
}

/** Renews the leases of live devices and ends the sessions that have lost theirs. */
export class LeaseKeeper {
  readonly intervalMs: number;
  readonly #options: LeaseKeeperOptions;
  #isRenewing = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.intervalMs = options.ttlMs / RENEWALS_PER_TTL;
  }

  start(): void {
    this.#timer = setInterval(() => void this.renewAll(), this.intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Never rejects. A live session survives an unreachable directory: its socket is here. */
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
    // Read now: a device that changes its catalog meanwhile has another lease object.
    const byLease = new Map(holders.map((holder) => [holder.lease, holder]));
    const lost = await this.#options.directory.renew([...byLease.keys()]);
    for (const lease of lost) byLease.get(lease)?.supersede();
  }
}
