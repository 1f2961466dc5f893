import { childSchema, dereference, type JsonSchema } from './json-schema.ts';

export interface EnvSetting {
  readonly path: readonly string[];
  readonly schema: JsonSchema;
}

/** rpc.maxBytes is ZL_HOST_RPC__MAX_BYTES. */
export function envName(prefix: string, path: readonly string[]): string {
  const parts = path.map((name) => name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase());
  return `${prefix}_${parts.join('__')}`;
}

/** Every setting that the environment can name. Objects too, as JSON. */
export function envSettings(prefix: string, root: JsonSchema): ReadonlyMap<string, EnvSetting> {
  const settings = new Map<string, EnvSetting>();
  const visit = (schema: JsonSchema, path: readonly string[]) => {
    if (path.length > 0) settings.set(envName(prefix, path), { path, schema });
    for (const name of Object.keys(schema.properties ?? {})) {
      const child = childSchema(schema, name, root);
      if (child !== undefined) visit(child, [...path, name]);
    }
  };
  visit(dereference(root, root), []);
  return settings;
}
