import { setTimeout as delay } from 'node:timers/promises';
import type { Lifetime } from '../e2e/system.ts';
import { FAULTS, type Fault, type Scene } from './faults.ts';
import { KILL_POINTS, strike } from './kill-points.ts';
import { Load } from './load.ts';
import { judge, type Verdict } from './oracle.ts';
import { type Victim, World } from './world.ts';

export interface RunOptions {
  /** From which the order of the faults, their lengths and the calls follow. */
  readonly seed: number;
  readonly acts: readonly Act[];
  readonly callers: number;
  /** The acts are played again, in another order, until there were as many calls. */
  readonly calls: number;
  /** After each act, so that the next one meets calls in every state. */
  readonly callsBetween: number;
  /** How long a relay is stopped, and a network is away. */
  readonly awayMs: number;
  /** Those of World. */
  readonly programs?: string | undefined;
}

export interface Act {
  readonly family: Victim | 'fault';
  readonly name: string;
  play(scene: Scene): Promise<void>;
}

export interface Outcome {
  readonly verdict: Verdict;
  /** How often each act was played. */
  readonly played: ReadonlyMap<Act, number>;
  readonly world: World;
}

/** Larger than the seeds that `make chaos` chooses. */
const MAX_SEED = 1e6;
const MAX_DOWN_MS = 300;

export function killsOf(victim: Victim): Act[] {
  return KILL_POINTS[victim].map((point) => ({
    family: victim,
    name: point.name,
    async play({ world, load, random }) {
      const { pid, pod } = await strike({ world, load }, victim, point);
      await delay(random() * MAX_DOWN_MS);
      await world.restart(victim, pid, pod);
    },
  }));
}

export function faults(wanted: readonly Fault[] = FAULTS): Act[] {
  return wanted.map(({ name, play }) => ({ family: 'fault', name, play }));
}

/** Plays the acts on a new system under load, and judges every call. */
export async function runChaos(t: Lifetime, options: RunOptions): Promise<Outcome> {
  const { seed, acts, callers, calls, callsBetween, awayMs, programs } = options;
  // Each has numbers of its own, because callers take theirs at times that no seed decides.
  const [order, random] = [randomOf(seed), randomOf(seed + MAX_SEED)];
  const world = await World.start(t, { random: randomOf(seed + 2 * MAX_SEED), programs });
  const load = await Load.start(world, { callers, random: randomOf(seed + 3 * MAX_SEED) });
  t.after(() => load.abandon());
  const scene = { t, world, load, random, awayMs };
  const hostReadyMs: number[] = [];
  const played = new Map<Act, number>();
  await load.passed(callsBetween);
  do {
    for (const act of shuffled(acts, order)) {
      log(`${load.ended} calls; ${act.family}: ${act.name}`);
      await act.play(scene);
      if (act.family === 'host') hostReadyMs.push(await world.hostReady());
      await world.healthy();
      await load.passed(callsBetween);
      played.set(act, (played.get(act) ?? 0) + 1);
    }
  } while (load.ended < calls);
  await load.stop();
  const { kills, counted, system } = world;
  const ledger = system.layout.host.ledger;
  const verdict = await judge({ asked: load.asked, kills, hostReadyMs, counted, ledger });
  return { verdict, played, world };
}

/** Into the log of a long run. */
function log(line: string): void {
  if (process.env.ZL_CHAOS_REPORT !== undefined) console.log(line);
}

function shuffled<T>(values: readonly T[], random: () => number): T[] {
  const shuffled = [...values];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [shuffled[last], shuffled[other]];
    if (a === undefined || b === undefined) continue;
    shuffled[last] = b;
    shuffled[other] = a;
  }
  return shuffled;
}

/** Numbers from 0 to 1 that follow from a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
