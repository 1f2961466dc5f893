import { createHash } from 'node:crypto';
import { stringify } from 'yaml';
import { isTree } from './layers.ts';
import { childSchema, dereference, type JsonSchema } from './schema.ts';

const MASK = '[masked:secret]';

/** The effective configuration as YAML, fit to be printed: what is secret is masked. */
export function describeConfig(config: unknown, schema: JsonSchema): string {
  return stringify(shown(config, dereference(schema, schema), schema));
}

function shown(value: unknown, schema: JsonSchema | undefined, root: JsonSchema): unknown {
  if (schema?.['x-secret'] === true && value !== undefined && value !== null) return MASK;
  if (typeof value === 'string') return withoutUrlPassword(value);
  if (Array.isArray(value)) {
    return value.map((item, index) => shown(item, childSchema(schema, `${index}`, root), root));
  }
  if (!isTree(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => [
      name,
      shown(child, childSchema(schema, name, root), root),
    ]),
  );
}

/** Addresses of stores are often given with their password in them. */
function withoutUrlPassword(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/[^/?#:@]*):[^/?#]+@/i, `$1:${MASK}@`);
}

/** Equal for two processes with the same settings, whatever their order. */
export function configDigest(config: unknown): `sha256:${string}` {
  const text = JSON.stringify(config, (_name, value: unknown) => sorted(value)) ?? '';
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
