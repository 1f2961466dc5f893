import { ALL_DETECTORS, type DetectorName } from './matcher.ts';
import { isSecretName } from './matchers/secret-value.ts';
import { StreamMasker } from './stream-masker.ts';

export interface Masked {
  readonly text: string;
  /** In order of first appearance. */
  readonly found: readonly DetectorName[];
}

/** Called for each secret that is replaced. */
export type OnMasked = (detector: DetectorName) => void;

export interface MaskOptions {
  /** All of them when not given. */
  readonly detectors?: readonly DetectorName[] | undefined;
  readonly onMasked?: OnMasked | undefined;
}

/** Replaces every secret found by a placeholder such as [masked:jwt]. */
export function maskText(text: string, { detectors, onMasked }: MaskOptions = {}): Masked {
  const masker = new StreamMasker(detectors ?? ALL_DETECTORS, onMasked);
  const masked = masker.push(text) + masker.end();
  return { text: masked, found: masker.found };
}

/** Deeper values are cut off: nothing legitimate nests so deep, and the stack is finite. */
const MAX_DEPTH = 100;

/**
 * A copy with secrets masked in strings and names; the value under a name such
 * as password or api_key is masked whatever it looks like.
 */
export function maskJson(value: unknown, options: MaskOptions = {}): unknown {
  return masked(value, options, 0);
}

function masked(value: unknown, options: MaskOptions, depth: number): unknown {
  if (typeof value === 'string') return maskText(value, options).text;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '[too deep]';
  if (Array.isArray(value)) return value.map((item) => masked(item, options, depth + 1));
  const entries = Object.entries(value).map(([name, item]) => [
    maskText(name, options).text,
    isHidden(name, item, options) ? hide(options) : masked(item, options, depth + 1),
  ]);
  return Object.fromEntries(entries);
}

function isHidden(name: string, value: unknown, { detectors }: MaskOptions): boolean {
  return isScalar(value) && isSecretName(name) && (detectors?.includes('secret') ?? true);
}

function hide({ onMasked }: MaskOptions): string {
  onMasked?.('secret');
  return '[masked:secret]';
}

function isScalar(value: unknown): boolean {
  return (typeof value === 'string' && value !== '') || typeof value === 'number';
}
