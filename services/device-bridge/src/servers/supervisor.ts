import type { ManifestServer } from '@zerolatency/policy';
import type { Catalog } from '@zerolatency/proto/bridge';
import { catalogOf } from './catalog.ts';
import { ManagedServer, type ServerDeps } from './managed-server.ts';
import { isWanted, type Posts, type PostsEvent, planServers } from './plan-servers.ts';

export interface SupervisorDeps extends Omit<ServerDeps, 'onChange'> {
  readonly onCatalog: (catalog: Catalog) => void;
}

/** Runs the servers of the manifest in force, and lets those of the one before it end. */
export class Supervisor {
  readonly #deps: ServerDeps;
  readonly #onCatalog: (catalog: Catalog) => void;
  /** One for each post. */
  readonly #servers = new Map<string, ManagedServer>();
  #posts: Posts = new Map();
  #isStopped = false;
  #isAnnouncing = false;

  constructor(deps: SupervisorDeps) {
    this.#onCatalog = deps.onCatalog;
    this.#deps = { ...deps, onChange: () => this.#announceSoon() };
  }

  /** Those of the manifest in force. One that drains makes way for another of its name. */
  get servers(): readonly ManagedServer[] {
    return [...this.#posts.keys()].flatMap((name) => this.find(name) ?? []);
  }

  /** Servers that the manifest names no more, and that still run calls. */
  get leaving(): readonly string[] {
    return [...this.#posts].flatMap(([name, post]) => (isWanted(post) ? [] : name));
  }

  get catalog(): Catalog {
    return catalogOf(this.servers);
  }

  find(name: string): ManagedServer | undefined {
    return isWanted(this.#posts.get(name)) ? this.#servers.get(name) : undefined;
  }

  /** The manifest in force names these now, and no others. */
  follow(wanted: readonly ManifestServer[]): void {
    if (!this.#isStopped) this.#apply({ wanted });
  }

  async stop(deadline?: AbortSignal): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#servers.values()].map((server) => server.stop(deadline)));
  }

  #apply(event: PostsEvent): void {
    const { posts, drain, start } = planServers(this.#posts, event);
    // First: whoever waits at a server that drains asks here whether it will be back.
    this.#posts = posts;
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
