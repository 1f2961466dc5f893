import { stringify } from 'yaml';
import { childSchema, dereference, type JsonSchema } from './json-schema.ts';
import { isTree } from './settings.ts';

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
