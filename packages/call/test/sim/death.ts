import type { Point, Schedule, Step } from './schedule.ts';

export type Die = Extract<Step, { do: 'die' }>;

/** Unwinds whatever a process was in the midst of. */
export class Death extends Error {
  readonly how: Die;

  constructor(how: Die) {
    super(`dies at ${how.at}`);
    this.how = how;
  }
}

/** Counts how often a process passes the points at which the schedule may have it die. */
export class Fate {
  readonly #deaths: readonly Die[];
  readonly #passed = new Map<Point, number>();

  constructor(schedule: Schedule) {
    this.#deaths = schedule.filter((step): step is Die => step.do === 'die');
  }

  pass(point: Point): void {
    const nth = (this.#passed.get(point) ?? 0) + 1;
    this.#passed.set(point, nth);
    const death = this.#deaths.find((die) => die.at === point && die.nth === nth);
    if (death) throw new Death(death);
  }
}

/** Runs a part of a process, to its end or to the death of the process. */
export function live(part: () => void, onDeath: (how: Die) => void): void {
  try {
    part();
  } catch (reason) {
    if (!(reason instanceof Death)) throw reason;
    onDeath(reason.how);
  }
}
