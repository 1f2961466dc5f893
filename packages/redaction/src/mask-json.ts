import { allDetectors, type DetectorName } from './detectors.ts';
import { maskText } from './mask-text.ts';
import { isSecretName } from './secret-name.ts';

/** Deeper values are cut off: nothing legitimate nests so deep, and the stack is finite. */
const MAX_DEPTH = 100;

/**
 * A copy with secrets masked in strings and names; the value under a name such
 * as password or api_key is masked whatever it looks like.
 */
export function maskJson(
  value: unknown,
  detectors: readonly DetectorName[] = allDetectors,
): unknown {
  return masked(value, detectors, 0);
}

function masked(value: unknown, detectors: readonly DetectorName[], depth: number): unknown {
  if (typeof value === 'string') return maskText(value, detectors).text;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '[too deep]';
  if (Array.isArray(value)) return value.map((item) => masked(item, detectors, depth + 1));
  const entries = Object.entries(value).map(([name, item]) => {
    const hidden = isScalar(item) && isSecretName(name) && detectors.includes('secret');
    return [
      maskText(name, detectors).text,
      hidden ? '[masked:secret]' : masked(item, detectors, depth + 1),
    ];
  });
  return Object.fromEntries(entries);
}

function isScalar(value: unknown): boolean {
  return (typeof value === 'string' && value !== '') || typeof value === 'number';
}
