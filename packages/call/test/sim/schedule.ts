import { Random } from './random.ts';

/** What a person asks for, and how the tool will behave. */
export interface CallPlan {
  readonly do: 'call';
  readonly atMs: number;
  readonly call: number;
  readonly hasEffects: boolean;
  readonly isDenied: boolean;
  /** The caller is of release 0.1.0. */
  readonly isOlder: boolean;
  /** Keeps working when it is asked to stop. */
  readonly isStubborn: boolean;
  readonly timeoutMs: number;
  readonly decideMs: number;
  readonly workMs: number;
  readonly resultBytes: number;
}

/** Moments inside one input, at which a process can die. */
export const BRIDGE_POINTS = ['dispatched', 'acted', 'finished', 'told', 'forgot'] as const;
export const HOST_POINTS = ['intended', 'sent', 'settled', 'recorded'] as const;
export type Point = (typeof BRIDGE_POINTS)[number] | (typeof HOST_POINTS)[number];

/** How a bridge comes down; the machine's crash loses writes that were not durable, but `kept`. */
interface Fall {
  readonly downMs: number;
  readonly isMachine: boolean;
  readonly kept: number;
}

export type Step =
  | CallPlan
  | { readonly do: 'cancel'; readonly atMs: number; readonly call: number }
  | { readonly do: 'cut'; readonly atMs: number; readonly downMs: number; readonly isTold: boolean }
  | { readonly do: 'relay crash'; readonly atMs: number; readonly downMs: number }
  /** The relay drains: the device is live at the next one before it leaves. */
  | {
      readonly do: 'hand-over';
      readonly atMs: number;
      /** The next relay takes the lease and dies before its welcome; another follows after this. */
      readonly failsMs: number;
    }
  | { readonly do: 'host crash'; readonly atMs: number; readonly downMs: number }
  | ({ readonly do: 'bridge crash'; readonly atMs: number } & Fall)
  | ({ readonly do: 'die'; readonly at: Point; readonly nth: number } & Fall)
  | { readonly do: 'wipe' | 'restart'; readonly atMs: number; readonly downMs: number }
  | {
      readonly do: 'rollback';
      readonly atMs: number;
      readonly downMs: number;
      /** Writes that had been durable. */
      readonly lost: number;
    }
  | { readonly do: 'full disk'; readonly atMs: number; readonly forMs: number }
  | {
      readonly do: 'clock';
      readonly atMs: number;
      readonly of: 'host' | 'device';
      readonly byMs: number;
      /** The clock is put right again after this long; never, when 0. */
      readonly forMs: number;
    }
  /** Its clock is wrong from the beginning. */
  | { readonly do: 'skew'; readonly of: 'host' | 'device'; readonly byMs: number }
  /** The device's machine sleeps: its timers stop, and frames wait. */
  | { readonly do: 'sleep'; readonly atMs: number; readonly forMs: number }
  | { readonly do: 'lose'; readonly frame: number }
  | { readonly do: 'repeat'; readonly frame: number; readonly afterMs: number }
  | { readonly do: 'delay'; readonly frame: number; readonly byMs: number };

export type Schedule = readonly Step[];

const FAULTS = [
  'cancel',
  'cut',
  'relay crash',
  'hand-over',
  'host crash',
  'bridge crash',
  'bridge dies',
  'host dies',
  'wipe',
  'restart',
  'rollback',
  'full disk',
  'clock',
  'sleep',
  'skew',
  'lose',
  'repeat',
  'delay',
] as const;
export type Fault = (typeof FAULTS)[number];

const PERSON_MS = 6_000;
const LONG_MS = 15_000;
const HOURS_MS = 3 * 60 * 60 * 1000;
/** About as many frames as a call needs, so that a fault often hits one. */
const FRAMES = 30;

/** With these kinds of fault alone, where they are given. */
export function scheduleOf(seed: number, only?: readonly Fault[]): Schedule {
  const random = new Random(seed);
  const steps: Step[] = [];
  const calls = random.int(1, 3);
  for (let call = 0; call < calls; call += 1) steps.push(planCall(random, call));
  // Few kinds of fault and many of each: that is where rare meetings happen.
  const kinds = only ?? FAULTS.filter(() => random.chance(0.25));
  const faults = kinds.length > 0 ? random.int(1, 8) : 0;
  for (let fault = 0; fault < faults; fault += 1) {
    steps.push(planFault(random, kinds[random.int(0, kinds.length - 1)] ?? 'cut', calls));
  }
  return steps;
}

function planCall(random: Random, call: number): CallPlan {
  return {
    do: 'call',
    atMs: call === 0 ? 0 : random.int(0, PERSON_MS),
    call,
    hasEffects: random.chance(0.5),
    isDenied: random.chance(0.1),
    isOlder: random.chance(0.1),
    isStubborn: random.chance(0.3),
    timeoutMs: random.pick([2_000, 5_000, 10_000]),
    decideMs: random.chance(0.7) ? 0 : random.int(1, 1_000),
    workMs: random.chance(0.7) ? random.int(0, 50) : random.int(50, 6_000),
    resultBytes: random.pick([0, 1, 60, 200, 320, 500]),
  };
}

function planFault(random: Random, kind: Fault, calls: number): Step {
  const atMs = random.chance(0.5) ? random.int(0, 100) : random.int(0, PERSON_MS);
  const downMs = random.chance(0.8) ? random.int(1, 1_000) : random.int(1_000, 8_000);
  const kept = random.chance(0.5) ? 0 : random.int(1, 3);
  const fall = { downMs, isMachine: random.chance(0.6), kept };
  // The first CALL, after a question about the clock and its answer, can do most harm.
  const frame = random.pick([2, 2, random.int(0, 6), random.int(0, FRAMES)]);
  const aWhileMs = random.int(1, random.pick([50, 3_000, LONG_MS]));
  switch (kind) {
    case 'cancel':
      return { do: kind, atMs, call: random.int(0, calls - 1) };
    case 'cut':
      return { do: kind, atMs, downMs, isTold: random.chance(0.7) };
    case 'hand-over':
      return { do: kind, atMs, failsMs: random.chance(0.7) ? 0 : downMs };
    case 'relay crash':
    case 'host crash':
    case 'restart':
    case 'wipe':
      return { do: kind, atMs, downMs };
    case 'rollback':
      return { do: kind, atMs, downMs, lost: random.int(1, 6) };
    case 'bridge crash':
      return { do: kind, atMs, ...fall };
    case 'bridge dies':
      return { do: 'die', at: random.pick(BRIDGE_POINTS), nth: random.int(1, 3), ...fall };
    case 'host dies':
      return { do: 'die', at: random.pick(HOST_POINTS), nth: random.int(1, 3), ...fall };
    case 'full disk':
      return { do: kind, atMs, forMs: downMs };
    case 'clock':
      return planClock(random, atMs);
    case 'skew':
      return { do: kind, of: random.pick(['host', 'device']), byMs: planSkew(random) };
    case 'sleep':
      return { do: kind, atMs, forMs: aWhileMs };
    case 'lose':
      return { do: kind, frame };
    case 'repeat':
      return { do: kind, frame, afterMs: aWhileMs };
    case 'delay':
      return { do: kind, frame, byMs: aWhileMs };
  }
}

function planSkew(random: Random): number {
  return random.pick([-1, 1]) * random.int(1, random.pick([LONG_MS, HOURS_MS]));
}

function planClock(random: Random, atMs: number): Step {
  const byMs = random.pick([-1, 1]) * random.int(100, 2 * LONG_MS);
  const of = random.chance(0.7) ? 'device' : 'host';
  return { do: 'clock', atMs, of, byMs, forMs: random.chance(0.5) ? random.int(1, 3_000) : 0 };
}
