/** The keywords of JSON Schema 2020-12 that the loader itself reads; ajv reads the rest. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly default?: unknown;
  readonly 'x-secret'?: boolean;
  readonly [keyword: string]: unknown;
}

/** Follows references within the document, the only ones a configuration schema uses. */
export function dereference(schema: JsonSchema, root: JsonSchema): JsonSchema {
  const name = /^#\/\$defs\/([^/]+)$/.exec(schema.$ref ?? '')?.[1];
  const target = name === undefined ? undefined : root.$defs?.[name];
  return target === undefined ? schema : dereference(target, root);
}

/** The schema of the value under a name, if the schema has a place for it. */
export function childSchema(
  parent: JsonSchema | undefined,
  name: string,
  root: JsonSchema,
): JsonSchema | undefined {
  if (parent === undefined) return undefined;
  const { properties, additionalProperties, items } = dereference(parent, root);
  if (properties !== undefined && Object.hasOwn(properties, name)) {
    const own = properties[name];
    return own === undefined ? undefined : dereference(own, root);
  }
  if (typeof additionalProperties === 'object') return dereference(additionalProperties, root);
  return items !== undefined && /^\d+$/.test(name) ? dereference(items, root) : undefined;
}

export function hasType(schema: JsonSchema | undefined, type: string): boolean {
  return schema?.type === type || (Array.isArray(schema?.type) && schema.type.includes(type));
}
