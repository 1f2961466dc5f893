import type { DeviceIdentity } from '@zerolatency/identity';
import type { Log } from '../ports.ts';
import { type DirectoryEntry, digestOfCatalog } from './directory.ts';

/** A page ends early rather than hold a thousand large catalogs. */
export const MAX_CATALOG_BYTES = 2 * 1024 * 1024;
/** Their ids fit into one request. */
export const MAX_DESCRIBED = 100;
/** Devices that are asked for the same catalog, in case that one of them has left. */
const ASKED_PER_CATALOG = 2;

export interface OwnCatalog {
  readonly digest: string;
  /** bridge.v1.Catalog, encoded. */
  readonly catalog: Uint8Array;
}

/** What another pod says that devices offer. */
export interface Description {
  readonly catalogs: readonly Uint8Array[];
  /** How many of the asked devices, from the first, these are the catalogs of. */
  readonly described: number;
}

export interface OtherPods {
  describe(
    rpcUrl: string,
    devices: { readonly tenant: string; readonly deviceIds: readonly string[] },
  ): Promise<Description>;
}

export interface CatalogsOptions {
  readonly relayId: string;
  /** Looks among the devices whose sockets are here. */
  readonly own: (device: DeviceIdentity) => OwnCatalog | undefined;
  readonly pods: OtherPods;
  readonly log: Log;
}

/** By digest: undefined when its pod does not have it any more, absent when it was not asked for. */
type Gathered = Map<string, Uint8Array | undefined>;

/** Finds the catalogs of listed devices: here, or at the pods that hold their sockets. */
export class Catalogs {
  readonly #options: CatalogsOptions;

  constructor(options: CatalogsOptions) {
    this.#options = options;
  }

  own(device: DeviceIdentity): OwnCatalog | undefined {
    return this.#options.own(device);
  }

  /**
   * Returns the catalogs of the first entries, as many as a page holds and at
   * least one. That of a device whose pod does not answer is undefined.
   */
  async of(entries: readonly DirectoryEntry[]): Promise<readonly (Uint8Array | undefined)[]> {
    const { relayId } = this.#options;
    const gathered: Gathered = new Map();
    const byPod = Map.groupBy(entries, (entry) => entry.relayId);
    byPod.delete(relayId);
    await Promise.all([...byPod.values()].map((held) => this.#ask(held, gathered)));
    const catalogs: (Uint8Array | undefined)[] = [];
    let bytes = 0;
    for (const entry of entries) {
      const isOwn = entry.relayId === relayId;
      if (!isOwn && !gathered.has(entry.catalogDigest)) break;
      const catalog = isOwn ? this.own(entry)?.catalog : gathered.get(entry.catalogDigest);
      bytes += catalog?.length ?? 0;
      if (catalogs.length > 0 && bytes > MAX_CATALOG_BYTES) break;
      catalogs.push(catalog);
    }
    return catalogs;
  }

  /** Never rejects: a list without some catalogs is better than none. */
  async #ask(entries: readonly DirectoryEntry[], gathered: Gathered): Promise<void> {
    const byDigest = Map.groupBy(entries, ({ catalogDigest }) => catalogDigest);
    const wanted = [...byDigest.values()].flatMap((same) => same.slice(0, ASKED_PER_CATALOG));
    const [first] = wanted;
    if (first === undefined) return;
    const { tenant, relayId, rpcUrl } = first;
    let bytes = 0;
    for (let start = 0; start < wanted.length && bytes <= MAX_CATALOG_BYTES; ) {
      const asked = wanted.slice(start, start + MAX_DESCRIBED);
      const deviceIds = asked.map(({ deviceId }) => deviceId);
      const answer = await this.#options.pods
        .describe(rpcUrl, { tenant, deviceIds })
        .catch((err: unknown) => {
          this.#options.log.warn({ err, relayId, rpcUrl, tenant }, 'catalogs not listed');
          return undefined;
        });
      // All that is left: nobody waits for the same pod again.
      const described = answer === undefined ? wanted.length : Math.max(1, answer.described);
      for (const { catalogDigest } of wanted.slice(start, start + described)) {
        if (!gathered.has(catalogDigest)) gathered.set(catalogDigest, undefined);
      }
      for (const catalog of answer?.catalogs ?? []) {
        bytes += catalog.length;
        gathered.set(digestOfCatalog(catalog), catalog);
      }
      start += described;
    }
  }
}
