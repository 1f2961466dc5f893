import { createHash } from 'node:crypto';

/** Tells whether two processes run with the same settings, whatever their order. */
export function configDigest(config: unknown): `sha256:${string}` {
  const text = JSON.stringify(config, (_name, value: unknown) => sorted(value)) ?? '';
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
