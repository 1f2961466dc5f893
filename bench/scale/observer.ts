import type { World } from './world.ts';

export const TICK_MS = 100;
const TICKS_PER_SECOND = 1000 / TICK_MS;
/** A call that waits longer than this for its pod counts as delayed. */
const SLOW_MS = 100;

/** One second of a run. */
export interface Second {
  readonly atS: number;
  readonly away: number;
  readonly maxCpu: number;
  readonly meanCpu: number;
  readonly maxDials: number;
  readonly redisOperations: number;
}

export interface Result {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly allMs: number;
  /** Devices, or leases, that were not back when the run ended. */
  readonly missing: number;
  readonly peakDials: number;
  readonly peakCpu: number;
  readonly podsOver70: number;
  readonly peakRedisOperations: number;
  readonly peakRedisBusy: number;
  readonly longestRedisWaitMs: number;
  readonly callsDelayed: number;
  readonly dials: number;
  readonly refused: number;
  readonly endedAtMs: number;
  readonly peakEvents: number;
  readonly seconds: readonly Second[];
}

/** Counts what a run shows, second by second. */
export class Observer {
  away = 0;
  dials = 0;
  /** Dials that a limit of a pod ended. */
  refused = 0;
  readonly seconds: Second[] = [];
  readonly #world: World;
  readonly #absencesMs: number[] = [];
  #callsDelayed = 0;
  #ticks = 0;

  constructor(world: World) {
    this.#world = world;
  }

  lost(device: number): void {
    const { fleet, nowMs } = this.#world;
    if (!Number.isNaN(fleet.awaySinceMs[device])) return;
    fleet.awaySinceMs[device] = nowMs;
    this.away += 1;
  }

  back(device: number): void {
    const { fleet, nowMs } = this.#world;
    const sinceMs = fleet.awaySinceMs[device] ?? Number.NaN;
    if (Number.isNaN(sinceMs)) return;
    this.#absencesMs.push(nowMs - sinceMs);
    fleet.awaySinceMs[device] = Number.NaN;
    this.away -= 1;
  }

  /** Leases that are in the directory again. */
  rewritten(count: number, absentMs: number): void {
    for (let lease = 0; lease < count; lease++) this.#absencesMs.push(absentMs);
  }

  tick(): void {
    const { pods, setup, nowMs } = this.#world;
    const { tls, proof } = setup.costs;
    // Nobody calls a device that has never been there.
    let waiting = setup.joining > 0 ? 0 : this.away;
    for (const pod of pods) {
      const backlogMs =
        (pod.queued * (tls + proof)) / 2000 + Math.max(0, pod.renewingUntilMs - nowMs);
      if (backlogMs > SLOW_MS) waiting += pod.live;
    }
    this.#callsDelayed += (waiting * setup.network.callsPerSecond) / TICKS_PER_SECOND;
    this.#ticks += 1;
    if (this.#ticks % TICKS_PER_SECOND === 0) this.#endSecond();
  }

  result(): Result {
    const { redis, pods, nowMs, queue } = this.#world;
    const absencesMs = Float64Array.from(this.#absencesMs).sort();
    // Those that are still away have been away for longer than all others.
    const total = absencesMs.length + this.away;
    const at = (share: number) =>
      total === 0
        ? 0
        : (absencesMs[Math.min(total - 1, Math.floor(total * share))] ?? Number.POSITIVE_INFINITY);
    return {
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      allMs: at(1),
      missing: this.away,
      peakDials: Math.max(...pods.map(({ peakDials }) => peakDials)),
      peakCpu: Math.max(...pods.map(({ peakCpu }) => peakCpu)),
      podsOver70: pods.filter(({ peakCpu }) => peakCpu > 0.7).length,
      peakRedisOperations: redis.peakOperations,
      peakRedisBusy: redis.peakBusy,
      longestRedisWaitMs: redis.longestWaitMs,
      callsDelayed: Math.round(this.#callsDelayed),
      dials: this.dials,
      refused: this.refused,
      endedAtMs: nowMs,
      peakEvents: queue.peak,
      seconds: this.seconds,
    };
  }

  #endSecond(): void {
    const { pods, redis, nowMs } = this.#world;
    let maxCpu = 0;
    let sumCpu = 0;
    let maxDials = 0;
    for (const pod of pods) {
      const cpu = pod.isUp ? Math.min(1, pod.busyMs / 1000 + this.#world.baseShare(pod)) : 0;
      pod.peakCpu = Math.max(pod.peakCpu, cpu);
      pod.peakDials = Math.max(pod.peakDials, pod.dials);
      maxCpu = Math.max(maxCpu, cpu);
      sumCpu += cpu;
      maxDials = Math.max(maxDials, pod.dials);
      pod.busyMs = 0;
      pod.dials = 0;
    }
    this.seconds.push({
      atS: nowMs / 1000,
      away: this.away,
      maxCpu,
      meanCpu: sumCpu / pods.length,
      maxDials,
      redisOperations: redis.endWindow(),
    });
  }
}
