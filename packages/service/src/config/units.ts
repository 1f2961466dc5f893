import { ZlError } from '@zerolatency/errors';

const DURATION_UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** A timer of more than 2^31 ms fires at once, and some settings are doubled on the way to one. */
const MAX_DURATION_MS = 12 * 86_400_000;
export const DURATION_HINT = 'a duration of at most 12d, such as 250ms, 10s or 5m';

/** Milliseconds of texts such as 250ms, 10s, 1.5m, 12h, 7d. */
export function parseDurationMs(text: string): number {
  const parsed = parse(text, DURATION_UNITS_MS);
  if (parsed === undefined || parsed > MAX_DURATION_MS) {
    throw new ZlError('config.invalid', `"${text}" is not ${DURATION_HINT}`);
  }
  return parsed;
}

/** Bytes of texts such as 512, 64KiB, 1MiB, 1.5GB. */
export function parseBytes(text: string): number {
  const parsed = parse(text, BYTE_UNITS);
  if (parsed === undefined) {
    throw new ZlError(
      'config.invalid',
      `"${text}" is not a size; write it like 512, 64KiB or 1MiB`,
    );
  }
  return parsed;
}

export function isDuration(text: string): boolean {
  return (parse(text, DURATION_UNITS_MS) ?? Number.POSITIVE_INFINITY) <= MAX_DURATION_MS;
}

export function isBytes(text: string): boolean {
  return parse(text, BYTE_UNITS) !== undefined;
}

function parse(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, amount, unit] = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})$/.exec(text) ?? [];
  if (amount === undefined || unit === undefined || !Object.hasOwn(units, unit)) return undefined;
  const value = Math.round(Number(amount) * (units[unit] ?? 0));
  return Number.isSafeInteger(value) ? value : undefined;
}
