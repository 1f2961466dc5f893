import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { ManifestServer } from '@zerolatency/manifest';
import type { Catalog } from '@zerolatency/proto/bridge';
import { catalogOf } from './catalog.ts';
import { ManagedServer, type ServerDeps } from './managed-server.ts';

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
  /** Calls of a server that makes room for the next of its name. */
  #waiting: (readonly [string, () => void])[] = [];
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

  /** Calls back once the server neither starts nor makes room for the next of its name. */
  onceSettled(name: string, then: () => void): void {
    const server = this.find(name);
    if (server !== undefined && this.#slots.get(name)?.name === 'draining') {
      this.#waiting.push([name, then]);
    } else if (server?.state.name === 'starting') {
      server.onceStarted(() => this.onceSettled(name, then));
    } else {
      then();
    }
  }

  /** Replaces the list of servers that the manifest in force names. */
  follow(wanted: readonly ManifestServer[]): void {
    if (!this.#isStopped) this.#apply({ wanted });
  }

  /** Resolves once no server is starting, or after `withinMs`. */
  async started(withinMs: number): Promise<void> {
    const starting = this.servers.filter(({ state }) => state.name === 'starting');
    const all = starting.map((server) => new Promise<void>((then) => server.onceStarted(then)));
    await Promise.race([Promise.all(all), sleep(withinMs, undefined, { ref: false })]);
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
    for (const [name, then] of this.#waiting.splice(0)) this.onceSettled(name, then);
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

/**
 * The slot of one server name.
 *
 *   (empty)  --wanted--> running --unwanted, or wanted otherwise--> draining
 *      ^                    ^                                          |
 *      |                    +--- gone, and wanted ---------------------+
 *      +--------------------------- gone, and unwanted ----------------+
 *
 * Two processes never share a name: the new server waits in `next` until the
 * old one is gone, and a newer manifest may replace it meanwhile.
 */
export type ServerSlot =
  | { readonly name: 'running'; readonly spec: ManifestServer }
  | { readonly name: 'draining'; readonly next: ManifestServer | undefined };

/** By server name; those of the manifest come first, in its order. */
export type ServerSlots = ReadonlyMap<string, ServerSlot>;

export type SlotsEvent =
  /** The servers of the manifest now in force. */
  | { readonly wanted: readonly ManifestServer[] }
  /** No process of this draining server is left. */
  | { readonly gone: string };

export interface ServerPlan {
  readonly slots: ServerSlots;
  /** These take no more calls, finish those that run, and stop. */
  readonly drain: readonly string[];
  readonly start: readonly ManifestServer[];
}

/** Servers that the plan does not name go on as before. */
export function planServers(slots: ServerSlots, event: SlotsEvent): ServerPlan {
  return 'wanted' in event ? planWanted(slots, event.wanted) : planGone(slots, event.gone);
}

/** Whether the manifest in force names the server, even if it has not started yet. */
export function isWanted(slot: ServerSlot | undefined): boolean {
  return slot?.name === 'running' || slot?.next !== undefined;
}

function planWanted(before: ServerSlots, wanted: readonly ManifestServer[]): ServerPlan {
  const slots = new Map<string, ServerSlot>();
  const drain: string[] = [];
  const start: ManifestServer[] = [];
  for (const spec of wanted) {
    const slot = before.get(spec.name);
    if (slot === undefined) start.push(spec);
    if (slot === undefined || (slot.name === 'running' && isDeepStrictEqual(slot.spec, spec))) {
      slots.set(spec.name, { name: 'running', spec });
      continue;
    }
    if (slot.name === 'running') drain.push(spec.name);
    slots.set(spec.name, { name: 'draining', next: spec });
  }
  for (const [name, slot] of before) {
    if (slots.has(name)) continue;
    if (slot.name === 'running') drain.push(name);
    slots.set(name, { name: 'draining', next: undefined });
  }
  return { slots, drain, start };
}

function planGone(before: ServerSlots, gone: string): ServerPlan {
  const slots = new Map(before);
  const slot = before.get(gone);
  const next = slot?.name === 'draining' ? slot.next : undefined;
  if (next !== undefined) {
    slots.set(gone, { name: 'running', spec: next });
    return { slots, drain: [], start: [next] };
  }
  if (slot?.name === 'draining') slots.delete(gone);
  return { slots, drain: [], start: [] };
}
