import type { PodAddress } from '../directory/directory.ts';
import { type Pods, podsOf } from './shard-of.ts';

/** What a pod of a pool says of itself to the others. */
export interface PodRecord extends PodAddress {
  /** Where devices reach this pod and no other; empty where a balancer hides it. */
  readonly deviceUrl: string;
}

interface KnownPod {
  readonly record: PodRecord;
  readonly isThere: boolean;
  readonly sinceMs: number;
  /** Devices belong to it. */
  readonly isMember: boolean;
  /** There, and for long enough that devices may be sent to it. */
  readonly isSteady: boolean;
}

/**
 * The pods among which devices are divided. A pod joins or leaves once it has been there, or gone,
 * for the time to settle, so that one that flaps does not move its devices twice; one that comes
 * back sooner stays a member and gets no devices until it has settled. While nothing can be read
 * nothing changes, and no time passes for those that have not settled.
 */
export class Membership {
  readonly #own: string;
  readonly #settleMs: number;
  #known: ReadonlyMap<string, KnownPod> = new Map();
  #members: Pods;
  #generation = 0;
  #isRead = false;
  #isCurrent = false;

  constructor(own: string, settleMs: number) {
    this.#own = own;
    this.#settleMs = settleMs;
    this.#members = podsOf([own]);
  }

  get members(): Pods {
    return this.#members;
  }

  /** Rises with each change of the members. */
  get generation(): number {
    return this.#generation;
  }

  /** False while the pods cannot be read. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** Where devices of the pod are sent; undefined while they are not. */
  deviceUrlOf(relayId: string): string | undefined {
    const pod = this.#known.get(relayId);
    if (!this.#isCurrent || pod === undefined || !pod.isSteady) return undefined;
    return pod.record.deviceUrl === '' ? undefined : pod.record.deviceUrl;
  }

  /** Takes the pods that are there. Returns whether devices may have to move. */
  read(pods: readonly PodRecord[], nowMs: number): boolean {
    // A pod that starts has no devices that it could move too early.
    const sinceMs = this.#isRead ? nowMs : Number.NEGATIVE_INFINITY;
    const before = this.#isCurrent || !this.#isRead ? this.#known : restarted(this.#known, nowMs);
    const next = new Map<string, KnownPod>();
    const there = new Map(pods.map((record) => [record.relayId, record]));
    for (const id of new Set([...before.keys(), ...there.keys()])) {
      const pod = this.#next(before.get(id), there.get(id), { sinceMs, nowMs });
      if (pod !== undefined) next.set(id, pod);
    }
    const hasChanged = this.#take(next);
    this.#isRead = true;
    this.#isCurrent = true;
    return hasChanged;
  }

  /** The pods cannot be read. */
  lose(): void {
    this.#isCurrent = false;
  }

  /** Undefined for a pod that nothing has to be remembered of. */
  #next(
    before: KnownPod | undefined,
    there: PodRecord | undefined,
    { sinceMs: newSinceMs, nowMs }: { readonly sinceMs: number; readonly nowMs: number },
  ): KnownPod | undefined {
    const isThere = there !== undefined;
    const record = there ?? before?.record;
    if (record === undefined) return undefined;
    const sinceMs = before?.isThere === isThere ? before.sinceMs : newSinceMs;
    const hasSettled = nowMs - sinceMs >= this.#settleMs;
    const isMember = hasSettled ? isThere : (before?.isMember ?? false);
    if (!isThere && !isMember) return undefined;
    return { record, isThere, sinceMs, isMember, isSteady: isThere && hasSettled };
  }

  #take(next: ReadonlyMap<string, KnownPod>): boolean {
    const before = this.#known;
    this.#known = next;
    const members = [...next].filter(([, pod]) => pod.isMember).map(([id]) => id);
    const ids = new Set([...members, this.#own]);
    const isSame =
      ids.size === this.#members.length && this.#members.every(({ id }) => ids.has(id));
    if (!isSame) {
      this.#members = podsOf([...ids]);
      this.#generation += 1;
    }
    const hasSettled = ([id, pod]: [string, KnownPod]) => pod.isSteady && !before.get(id)?.isSteady;
    return !isSame || [...next].some(hasSettled);
  }
}

/** No time has passed for pods that had not settled: nobody knows whether they were there. */
function restarted(known: ReadonlyMap<string, KnownPod>, nowMs: number) {
  const entries = [...known].map(([id, pod]): [string, KnownPod] => {
    const hasSettled = pod.isThere === pod.isMember && pod.isThere === pod.isSteady;
    return [id, hasSettled ? pod : { ...pod, sinceMs: nowMs }];
  });
  return new Map(entries);
}
