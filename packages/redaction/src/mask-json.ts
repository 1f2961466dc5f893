import { type MaskOptions, maskText } from './mask-text.ts';
import { isSecretName } from './secret-name.ts';

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
