import { LRUCache } from 'lru-cache';
import type { Rule } from './bundle.ts';
import type { Match } from './path-scope.ts';

type Hours = NonNullable<Rule['hours']>;
type Day = NonNullable<Hours['days']>[number];

const DAYS: readonly Day[] = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** A formatter costs far more to make than to use, and a bundle names few zones. */
const clocks = new LRUCache<string, Intl.DateTimeFormat>({ max: 64, memoMethod: newClock });

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    // Intl reports an unknown zone with a RangeError only.
    return false;
  }
}

export function withinHours(hours: Hours, nowMs: number): Match {
  // A time beyond the range of Date has no day of the week.
  if (Number.isNaN(new Date(nowMs).getTime())) return 'unclear';
  const { day, minute } = wallClock(hours.timeZone ?? 'UTC', nowMs);
  const from = minuteOf(hours.from);
  const to = minuteOf(hours.to);
  if (from <= to) return minute >= from && minute < to && runsOn(hours, day) ? 'yes' : 'no';
  if (minute >= from) return runsOn(hours, day) ? 'yes' : 'no';
  return minute < to && runsOn(hours, (day + 6) % 7) ? 'yes' : 'no';
}

function runsOn(hours: Hours, day: number): boolean {
  const name = DAYS[day];
  return hours.days === undefined || (name !== undefined && hours.days.includes(name));
}

function minuteOf(timeOfDay: string): number {
  const [hour = '', minute = ''] = timeOfDay.split(':');
  return Number(hour) * 60 + Number(minute);
}

function wallClock(timeZone: string, nowMs: number): { day: number; minute: number } {
  const parts = new Map(
    clocks
      .memo(timeZone)
      .formatToParts(nowMs)
      .map(({ type, value }) => [type, value]),
  );
  const weekday = (parts.get('weekday') ?? '').toLowerCase();
  return {
    day: DAYS.map(String).indexOf(weekday),
    minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')),
  };
}

function newClock(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
}
