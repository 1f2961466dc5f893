import type { Schedule } from './schedule.ts';

/** The schedule without every step that the failure does not need (delta debugging). */
export function shrink(schedule: Schedule, fails: (candidate: Schedule) => boolean): Schedule {
  let shortest = schedule;
  let size = Math.ceil(schedule.length / 2);
  while (size >= 1) {
    const shorter = withoutSome(shortest, size, fails);
    if (shorter) shortest = shorter;
    else if (size === 1) break;
    else size = Math.ceil(size / 2);
  }
  return shortest;
}

function withoutSome(
  schedule: Schedule,
  size: number,
  fails: (candidate: Schedule) => boolean,
): Schedule | undefined {
  for (let start = 0; start < schedule.length; start += size) {
    const candidate = [...schedule.slice(0, start), ...schedule.slice(start + size)];
    if (fails(candidate)) return candidate;
  }
  return undefined;
}

/** One step a line, for a person who wants to know why. */
export function printSchedule(schedule: Schedule): string {
  return schedule.map((step) => JSON.stringify(step)).join('\n');
}
