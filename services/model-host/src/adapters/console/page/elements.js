/** @typedef {string | Node} Child Texts never become markup. */

/**
 * @param {string} name such as `p.note`
 * @param {...Child} children
 */
export function element(name, ...children) {
  const [tag = 'div', ...classes] = name.split('.');
  const made = document.createElement(tag);
  made.classList.add(...classes);
  made.append(...children);
  return made;
}

/** A text from a peer: its direction stays its own, and all of it is in the title. */
export function foreign(name, text) {
  const made = element(name, text);
  made.dir = 'auto';
  made.title = text;
  return made;
}

/** A state in a word, with its colour. */
export function state(word, tone) {
  return element(`span.state.${tone}`, word);
}

/** @param {string} instant */
export function time(instant, words) {
  const made = document.createElement('time');
  made.dateTime = instant;
  made.append(words);
  return made;
}

export function duration(us) {
  if (us < 1_000) return `${us} µs`;
  if (us < 10_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 1_000_000) return `${Math.round(us / 1_000)} ms`;
  return `${(us / 1_000_000).toFixed(us < 10_000_000 ? 2 : 1)} s`;
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
];
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'always' });

/** Such as `in 13 days`. */
export function fromNow(instant, nowMs) {
  const ms = Date.parse(instant) - nowMs;
  const [unit, unitMs] = UNITS.find(([, each]) => Math.abs(ms) >= each) ?? UNITS[3];
  return RELATIVE.format(Math.trunc(ms / unitMs), unit);
}

const TIME = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

export function timeOfDay(instant) {
  return TIME.format(new Date(instant));
}

export function day(instant) {
  return DAY.format(new Date(instant));
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
