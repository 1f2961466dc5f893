import {
  BY_NAME,
  DEFINITIONS,
  hasScalarItems,
  isSchemaObject,
  LIST,
  MAX_UNIQUE_ITEMS,
  ONE,
} from './schema-limits.ts';

export interface CatalogSchema {
  readonly schema: unknown;
  readonly draft: 'draft-07' | '2020-12';
}

const ASSERTIONS = new Set([
  '$dynamicRef',
  '$recursiveRef',
  '$ref',
  'const',
  'dependentRequired',
  'enum',
  'exclusiveMaximum',
  'exclusiveMinimum',
  'maxContains',
  'maxItems',
  'maxLength',
  'maxProperties',
  'maximum',
  'minContains',
  'minItems',
  'minLength',
  'minProperties',
  'minimum',
  'multipleOf',
  'required',
  'type',
  'uniqueItems',
]);

/** Escaped punctuation and a dash after a class: the u flag allows neither, and both are common. */
const LENIENT = /\\(?:(?<classLetter>[dDsSwW])-(?!\])|(?<punctuation>[-_@#!%&"',:;<=>~` ])|.)/gs;

/**
 * The keywords that validate, out of a schema that a device offers. Everything
 * else in it is an annotation: vendor keywords, unknown formats, names, examples.
 */
export function readCatalogSchema(
  given: unknown,
  knownFormats: ReadonlySet<string>,
): CatalogSchema {
  let draft: CatalogSchema['draft'] = '2020-12';
  if (isSchemaObject(given) && /\/draft-0[3-7]\//.test(String(given.$schema))) draft = 'draft-07';

  const copy = (schema: unknown): unknown => {
    if (!isSchemaObject(schema)) return schema;
    // Only drafts before 2020-12 have it, whether or not the schema names one.
    if (Array.isArray(schema.items)) draft = 'draft-07';
    const kept: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(schema)) {
      if (LIST.includes(key) && Array.isArray(value)) kept[key] = value.map(copy);
      else if (ONE.includes(key)) kept[key] = copy(value);
      else if (BY_NAME.includes(key) || DEFINITIONS.includes(key)) {
        kept[key] = copyMembers(value, key === 'patternProperties');
      } else if (ASSERTIONS.has(key)) kept[key] = value;
    }
    if (typeof schema.pattern === 'string') kept.pattern = strictPattern(schema.pattern);
    if (knownFormats.has(String(schema.format))) kept.format = schema.format;
    if (schema.nullable === true && schema.type !== undefined) kept.nullable = true;
    if (schema.uniqueItems === true && !hasScalarItems(schema)) {
      kept.maxItems = Math.min(Number(schema.maxItems ?? MAX_UNIQUE_ITEMS), MAX_UNIQUE_ITEMS);
    }
    return kept;
  };

  const copyMembers = (members: unknown, areNamesPatterns: boolean): unknown => {
    if (!isSchemaObject(members)) return members;
    const entries = Object.entries(members).map(([name, member]) => [
      areNamesPatterns ? strictPattern(name) : name,
      copy(member),
    ]);
    return Object.fromEntries(entries);
  };

  const schema = copy(given);
  return { schema, draft };
}

/** The same pattern without what only the lenient grammar of JavaScript allows. */
function strictPattern(source: string): string {
  return source.replaceAll(LENIENT, (pair, classLetter?: string, punctuation?: string) => {
    if (classLetter !== undefined) return `\\${classLetter}\\x2d`;
    return punctuation === undefined ? pair : `\\x${punctuation.charCodeAt(0).toString(16)}`;
  });
}
