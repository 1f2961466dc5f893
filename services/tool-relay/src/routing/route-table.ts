/** Where the answers of a call go. */
export interface Route<H> {
  readonly holder: H;
  usedAtMs: number;
}

/**
 * The calls in flight on one device, by call id. A route is made by CALL and
 * RESUME and ends with the call; one that nobody uses is a call whose host
 * forgot to acknowledge it, and is forgotten too.
 */
export class RouteTable<H> {
  /** Made for the first call: most devices of a pod have none. */
  #routes: Map<string, Route<H>> | undefined;

  get size(): number {
    return this.#routes?.size ?? 0;
  }

  find(callKey: string): Route<H> | undefined {
    return this.#routes?.get(callKey);
  }

  set(callKey: string, holder: H, nowMs: number): void {
    this.#routes ??= new Map();
    this.#routes.set(callKey, { holder, usedAtMs: nowMs });
  }

  delete(callKey: string): void {
    this.#routes?.delete(callKey);
  }

  /** Gives how many there were. */
  deleteAllOf(holder: H): number {
    return this.#deleteWhere((route) => route.holder === holder).length;
  }

  /** Gives the holders they were of. */
  deleteUnusedSince(beforeMs: number): readonly H[] {
    return this.#deleteWhere((route) => route.usedAtMs < beforeMs);
  }

  #deleteWhere(wanted: (route: Route<H>) => boolean): H[] {
    const deleted: H[] = [];
    for (const [callKey, route] of this.#routes ?? []) {
      if (!wanted(route)) continue;
      this.#routes?.delete(callKey);
      deleted.push(route.holder);
    }
    return deleted;
  }
}
