// Writes contracts/gen from the JSON Schemas; with --check it reports whether that folder is current.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { compile, type JSONSchema } from 'json-schema-to-typescript';
import {
  dereference,
  type JsonSchema,
  prepareSchema,
} from '../packages/service/src/config/index.ts';

const OUT = 'contracts/gen';
const DIGEST_TYPE = `\`sha256:\${string}\``;

interface Source {
  readonly schema: string;
  readonly type: string;
  /** The loader fills in defaults, so a setting that has one is always present. */
  readonly hasDefaults?: boolean;
}

const SOURCES: readonly Source[] = [
  { schema: 'config/device-bridge', type: 'BridgeSettings', hasDefaults: true },
  { schema: 'config/model-host', type: 'HostSettings', hasDefaults: true },
  { schema: 'config/tool-relay', type: 'RelaySettings', hasDefaults: true },
  { schema: 'config/mock-script', type: 'MockScript' },
  { schema: 'config/tenant-keys', type: 'TenantKeys' },
  { schema: 'prices/prices', type: 'PriceTable' },
  { schema: 'plan/plan', type: 'Plan' },
  { schema: 'plan/verdict', type: 'Verdict' },
  { schema: 'policy/bundle', type: 'Bundle' },
  { schema: 'policy/manifest', type: 'Manifest' },
  { schema: 'policy/revocations', type: 'RevocationList' },
  { schema: 'audit/receipt', type: 'Receipt' },
  { schema: 'audit/record', type: 'LedgerRecord' },
  { schema: 'console/overview', type: 'ConsoleOverview' },
  ...readdirSync('contracts/audit/records').sort().map(recordBody),
];

/** The schema of `call.intent` becomes CallIntentBody. */
function recordBody(file: string): Source {
  const kind = basename(file, '.schema.json');
  const words = kind.split('.').map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return { schema: `audit/records/${kind}`, type: `${words.join('')}Body` };
}

async function typesOf({ schema, type, hasDefaults = false }: Source): Promise<string> {
  const given: JsonSchema = JSON.parse(readFileSync(`contracts/${schema}.schema.json`, 'utf8'));
  const root = hasDefaults ? prepareSchema(given) : given;
  const described = describeForTypes(root, { root, hasDefaults });
  const document: JSONSchema = JSON.parse(JSON.stringify({ ...described, title: type, $id: type }));
  const text = await compile(document, type, {
    bannerComment: `// Generated from contracts/${schema}.schema.json by \`make generate\`.`,
    additionalProperties: false,
    ignoreMinAndMaxItems: true,
    style: { singleQuote: true, printWidth: 100 },
  });
  return withReadonly(text);
}

interface Scope {
  readonly root: JsonSchema;
  readonly hasDefaults: boolean;
}

/** The schema without what a type cannot say: conditions and bounds. Only objects keep a name. */
function describeForTypes(schema: JsonSchema, scope: Scope): JsonSchema {
  const { $ref, ...besideRef } = schema;
  const target = dereference(schema, scope.root);
  if ($ref !== undefined && target.properties === undefined) {
    return describeForTypes({ ...target, ...besideRef }, scope);
  }
  const { allOf, propertyNames, minItems, maxItems, ...rest } = schema;
  if (String(rest.pattern).startsWith('^sha256:')) return { tsType: DIGEST_TYPE };
  const described = mapSchemas(rest, (child) => describeForTypes(child, scope));
  if (rest.properties === undefined) {
    return rest.type === 'object' ? { additionalProperties: true, ...described } : described;
  }
  if (rest.minProperties === 1 && rest.maxProperties === 1) return exactlyOne(described);
  const required = Array.isArray(rest.required) ? rest.required : [];
  const defaulted = Object.keys(rest.properties).filter(
    (name) => scope.hasDefaults && rest.properties?.[name]?.default !== undefined,
  );
  return { ...described, required: [...new Set([...required, ...defaulted])] };
}

function exactlyOne({ properties = {}, description }: JsonSchema): JsonSchema {
  const oneOf = Object.entries(properties).map(([name, schema]) => ({
    type: 'object',
    properties: { [name]: schema },
    required: [name],
    additionalProperties: false,
  }));
  return description === undefined ? { oneOf } : { oneOf, description };
}

function mapSchemas(schema: JsonSchema, map: (child: JsonSchema) => JsonSchema): JsonSchema {
  const each = (schemas: Readonly<Record<string, JsonSchema>>) =>
    Object.fromEntries(Object.entries(schemas).map(([name, child]) => [name, map(child)]));
  const { properties, $defs, items, additionalProperties, oneOf } = schema;
  return {
    ...schema,
    ...(properties && { properties: each(properties) }),
    ...($defs && { $defs: each($defs) }),
    ...(items && { items: map(items) }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: map(additionalProperties),
    }),
    ...(Array.isArray(oneOf) && { oneOf: oneOf.map(map) }),
  };
}

/** The generator cannot write readonly; its output has one property on a line. */
function withReadonly(text: string): string {
  const lines = text
    .split('\n')
    .map((line) =>
      line
        .replace(/^(\s+)((?:[\w$]+|'[^']+'|\[k: string\])\??:(?= |$))/, '$1readonly $2')
        .replace(/([\w$]+|\([^()]*\))\[\]/g, 'readonly $1[]'),
    );
  for (const [index, line] of lines.entries()) {
    const indent = /^(\s*)\}\[\]/.exec(line)?.[1];
    if (indent === undefined) continue;
    const start = lines.findLastIndex(
      (earlier, at) =>
        at < index && earlier.startsWith(indent) && /^\S.*\{$/.test(earlier.slice(indent.length)),
    );
    lines[start] = lines[start]?.replace(/\{$/, 'readonly {') ?? '';
  }
  return lines.join('\n');
}

function isCurrent(path: string, text: string): boolean {
  return existsSync(path) && readFileSync(path, 'utf8') === text;
}

const isCheck = process.argv.includes('--check');
for (const source of SOURCES) {
  const path = join(OUT, `${basename(source.schema)}.d.ts`);
  const text = await typesOf(source);
  if (!isCheck) writeFileSync(path, text);
  else if (!isCurrent(path, text)) {
    console.log(path);
    process.exitCode = 1;
  }
}
