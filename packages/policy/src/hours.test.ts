import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTimeZone, withinHours } from './hours.ts';

// 2030-01-01 was to be a Tuesday.
const tuesday = (time: string) => Date.parse(`2030-01-01T${time}:00Z`);
const wednesday = (time: string) => Date.parse(`2030-01-02T${time}:00Z`);

test('[POL-01] a window begins with its first minute and ends before its last', () => {
  const hours = { from: '09:00', to: '17:30' };
  assert.equal(withinHours(hours, tuesday('08:59')), 'no');
  assert.equal(withinHours(hours, tuesday('09:00')), 'yes');
  assert.equal(withinHours(hours, tuesday('17:29')), 'yes');
  assert.equal(withinHours(hours, tuesday('17:30')), 'no');
});

test('[POL-01] a window over midnight belongs to the day it began on', () => {
  const hours = { from: '22:00', to: '06:00', days: ['tue'] } as const;
  assert.equal(withinHours(hours, tuesday('05:00')), 'no');
  assert.equal(withinHours(hours, tuesday('23:00')), 'yes');
  assert.equal(withinHours(hours, wednesday('05:59')), 'yes');
  assert.equal(withinHours(hours, wednesday('06:00')), 'no');
  assert.equal(withinHours(hours, wednesday('22:00')), 'no');
});

test('a window over midnight on Saturday runs into Sunday', () => {
  const hours = { from: '22:00', to: '06:00', days: ['sat'] } as const;
  assert.equal(withinHours(hours, Date.parse('2030-01-06T03:00:00Z')), 'yes');
  assert.equal(withinHours(hours, Date.parse('2030-01-05T03:00:00Z')), 'no');
});

test('[POL-01] hours follow the time zone, across daylight saving changes too', () => {
  const hours = { from: '09:00', to: '10:00', timeZone: 'Europe/Berlin' };
  assert.equal(withinHours(hours, Date.parse('2030-01-15T08:30:00Z')), 'yes');
  assert.equal(withinHours(hours, Date.parse('2030-07-15T07:30:00Z')), 'yes');
  assert.equal(withinHours(hours, Date.parse('2030-07-15T08:30:00Z')), 'no');
  const tokyo = { from: '00:00', to: '01:00', days: ['wed'], timeZone: 'Asia/Tokyo' } as const;
  assert.equal(withinHours(tokyo, tuesday('15:30')), 'yes');
});

test('an invalid time is unclear', () => {
  const hours = { from: '00:00', to: '23:59' };
  for (const nowMs of [Number.NaN, Number.POSITIVE_INFINITY, 9e15]) {
    assert.equal(withinHours(hours, nowMs), 'unclear');
  }
});

test('time zones are known by their names', () => {
  for (const name of ['UTC', 'Europe/Berlin', 'America/New_York']) assert.ok(isTimeZone(name));
  for (const name of ['', 'Mars/Olympus', 'Europe/']) assert.equal(isTimeZone(name), false);
});
