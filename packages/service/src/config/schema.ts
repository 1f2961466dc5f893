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

/**
 * The schema as the validator gets it. ajv applies defaults only in objects
 * that are there, so an object that may be left out is by default an empty one.
 * Throws where a schema would let unknown keys pass: that is a defect of ours.
 */
export function prepareSchema(schema: JsonSchema, root = schema): JsonSchema {
  const { properties, $defs, items, additionalProperties } = schema;
  if (properties !== undefined && additionalProperties === undefined) {
    const names = Object.keys(properties).join(', ');
    throw new Error(`the schema of { ${names} } must say additionalProperties`);
  }
  return {
    ...schema,
    ...($defs && { $defs: prepareEach($defs, root) }),
    ...(properties && {
      properties: withEmptyObjects(schema, prepareEach(properties, root), root),
    }),
    ...(items && { items: prepareSchema(items, root) }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: prepareSchema(additionalProperties, root),
    }),
  };
}

type Schemas = Readonly<Record<string, JsonSchema>>;

function prepareEach(schemas: Schemas, root: JsonSchema): Schemas {
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [name, prepareSchema(schema, root)]),
  );
}

function withEmptyObjects(parent: JsonSchema, properties: Schemas, root: JsonSchema): Schemas {
  const required: readonly unknown[] = Array.isArray(parent.required) ? parent.required : [];
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [
      name,
      !required.includes(name) && fillsItself(schema, root) ? { default: {}, ...schema } : schema,
    ]),
  );
}

/** Whether the object says something when it is empty in the file. */
function fillsItself(schema: JsonSchema, root: JsonSchema): boolean {
  const { properties = {}, required } = dereference(schema, root);
  if (Array.isArray(required) && required.length > 0) return false;
  return Object.values(properties).some(
    (child) => child.default !== undefined || fillsItself(child, root),
  );
}
