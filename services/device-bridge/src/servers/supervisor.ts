import type { Manifest } from '@zerolatency/policy';
import type { Catalog } from '@zerolatency/proto/bridge';
import { catalogOf } from './catalog.ts';
import { ManagedServer, type ServerDeps } from './managed-server.ts';

export interface SupervisorDeps extends Omit<ServerDeps, 'onChange'> {
  readonly onCatalog: (catalog: Catalog) => void;
}

/** All servers of the manifest. */
export class Supervisor {
  readonly #servers: ReadonlyMap<string, ManagedServer>;
  readonly #onCatalog: (catalog: Catalog) => void;
  #isAnnouncing = false;

  constructor(manifest: Manifest, deps: SupervisorDeps) {
    this.#onCatalog = deps.onCatalog;
    const withChange = { ...deps, onChange: () => this.#announceSoon() };
    this.#servers = new Map(
      manifest.servers.map((spec) => [spec.name, new ManagedServer(spec, withChange)]),
    );
  }

  get servers(): readonly ManagedServer[] {
    return [...this.#servers.values()];
  }

  get catalog(): Catalog {
    return catalogOf(this.servers);
  }

  find(name: string): ManagedServer | undefined {
    return this.#servers.get(name);
  }

  start(): void {
    for (const server of this.#servers.values()) server.start();
  }

  async stop(deadline?: AbortSignal): Promise<void> {
    await Promise.all(this.servers.map((server) => server.stop(deadline)));
  }

  /** Several servers change at once when the bridge starts; the relay is told once. */
  #announceSoon(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    setImmediate(() => {
      this.#isAnnouncing = false;
      this.#onCatalog(this.catalog);
    });
  }
}
