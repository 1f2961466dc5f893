import type { ManifestServer } from '@zerolatency/manifest';
import type { Catalog } from '@zerolatency/proto/bridge';
import { catalogOf } from './catalog.ts';
import { ManagedServer, type ServerDeps } from './managed-server.ts';
import { isWanted, planServers, type ServerSlots, type SlotsEvent } from './server-slots.ts';

export interface SupervisorDeps extends Omit<ServerDeps, 'onChange'> {
  readonly onCatalog: (catalog: Catalog) => void;
}

/** Runs the servers of the manifest in force and lets dropped ones finish their calls. */
export class Supervisor {
  readonly #deps: ServerDeps;
  readonly #onCatalog: (catalog: Catalog) => void;
  /** One for each slot. */
  readonly #servers = new Map<string, ManagedServer>();
  #slots: ServerSlots = new Map();
  #isStopped = false;
  #isAnnouncing = false;

  constructor(deps: SupervisorDeps) {
    this.#onCatalog = deps.onCatalog;
    this.#deps = { ...deps, onChange: () => this.#announceSoon() };
  }

  /** The servers of the manifest in force, including a draining one that will be replaced. */
  get servers(): readonly ManagedServer[] {
    return [...this.#slots.keys()].flatMap((name) => this.find(name) ?? []);
  }

  /** The names of servers that left the manifest and still run calls. */
  get leaving(): readonly string[] {
    return [...this.#slots].flatMap(([name, slot]) => (isWanted(slot) ? [] : name));
  }

  get catalog(): Catalog {
    return catalogOf(this.servers);
  }

  find(name: string): ManagedServer | undefined {
    return isWanted(this.#slots.get(name)) ? this.#servers.get(name) : undefined;
  }

  /** Replaces the list of servers that the manifest in force names. */
  follow(wanted: readonly ManifestServer[]): void {
    if (!this.#isStopped) this.#apply({ wanted });
  }

  async stop(deadline?: AbortSignal): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#servers.values()].map((server) => server.stop(deadline)));
  }

  #apply(event: SlotsEvent): void {
    const { slots, drain, start } = planServers(this.#slots, event);
    // First: calls waiting at a draining server check here whether it comes back.
    this.#slots = slots;
    for (const name of drain) void this.#drain(name);
    for (const spec of start) this.#start(spec);
    this.#announceSoon();
  }

  #start(spec: ManifestServer): void {
    const server = new ManagedServer(spec, this.#deps);
    this.#servers.set(spec.name, server);
    server.start();
  }

  async #drain(name: string): Promise<void> {
    await this.#servers.get(name)?.drain();
    if (this.#isStopped) return;
    this.#servers.delete(name);
    this.#apply({ gone: name });
  }

  /** Several servers change at once when the bridge starts; the relay gets one catalog. */
  #announceSoon(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    setImmediate(() => {
      this.#isAnnouncing = false;
      this.#onCatalog(this.catalog);
    });
  }
}
