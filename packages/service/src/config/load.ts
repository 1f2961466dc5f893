import {
  coerce,
  type EnvSetting,
  envSettings,
  type FileLayer,
  isTree,
  readFileLayer,
  setAt,
  type Tree,
} from './layers.ts';
import { childSchema, type JsonSchema } from './schema.ts';
import { Problems, suggestion, validate } from './validate.ts';

export interface ConfigSpec {
  /** JSON Schema 2020-12, with defaults, additionalProperties false, and x-secret on secrets. */
  readonly schema: JsonSchema;
  /** Such as ZL_HOST. */
  readonly envPrefix: string;
  /** Variables with the prefix that are not settings, such as ZL_HOST_CONFIG. */
  readonly otherEnv?: readonly string[];
}

export interface ConfigSources {
  /** YAML. */
  readonly file?: { readonly path: string; readonly text: string };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** By dotted path, such as rpc.port. Texts are read as the schema says. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** Where each value came from, by dotted path. */
type Origins = Map<string, string>;

/**
 * Defaults, then the file, the environment and the flags, each over the one
 * before. Throws config.invalid with everything that is wrong.
 */
export function loadConfig<T>(spec: ConfigSpec, sources: ConfigSources): T;
export function loadConfig(spec: ConfigSpec, sources: ConfigSources): unknown {
  const problems = new Problems();
  const origins: Origins = new Map();
  const file = sources.file === undefined ? undefined : readFileLayer(sources.file);
  const tree: Tree = file?.tree ?? {};
  const unknownEnv = applyEnv(tree, spec, { env: sources.env, origins });
  applyFlags(tree, spec.schema, { flags: sources.flags ?? {}, origins });
  for (const { path, text } of validate(spec.schema, tree)) {
    problems.add(`${where(path, origins, file)}${path.join('.') || 'the configuration'} ${text}`);
  }
  const known = [...envSettings(spec.envPrefix, spec.schema).keys(), ...(spec.otherEnv ?? [])];
  const referenced = referencedEnv(tree);
  for (const name of unknownEnv.filter((name) => !referenced.has(name))) {
    problems.add(`environment: ${name} is not a setting.${suggestion(name, known)}`);
  }
  problems.throwIfAny();
  deepFreeze(tree);
  return tree;
}

/** Returns the prefixed variables that name no setting. */
function applyEnv(
  tree: Tree,
  { schema, envPrefix, otherEnv = [] }: ConfigSpec,
  { env, origins }: { env: ConfigSources['env']; origins: Origins },
): string[] {
  const settings = envSettings(envPrefix, schema);
  const given: { name: string; text: string; setting: EnvSetting }[] = [];
  const unknown: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (text === undefined || !name.startsWith(`${envPrefix}_`) || otherEnv.includes(name))
      continue;
    const setting = settings.get(name);
    if (setting === undefined) unknown.push(name);
    else given.push({ name, text, setting });
  }
  // An object given whole comes before its members.
  given.sort((a, b) => a.setting.path.length - b.setting.path.length);
  for (const { name, text, setting } of given) {
    setAt(tree, setting.path, coerce(text, setting.schema, schema));
    origins.set(setting.path.join('.'), `environment ${name}`);
  }
  return unknown;
}

function applyFlags(
  tree: Tree,
  schema: JsonSchema,
  { flags, origins }: { flags: Readonly<Record<string, unknown>>; origins: Origins },
): void {
  for (const [flag, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const path = flag.split('.');
    const target = path.reduce<JsonSchema | undefined>(
      (parent, name) => childSchema(parent, name, schema),
      schema,
    );
    setAt(tree, path, typeof value === 'string' ? coerce(value, target, schema) : value);
    origins.set(flag, `--set ${flag}`);
  }
}

/** The nearest place where a person can correct the problem. */
function where(path: readonly string[], origins: Origins, file: FileLayer | undefined): string {
  for (let length = path.length; length > 0; length--) {
    const origin = origins.get(path.slice(0, length).join('.'));
    if (origin !== undefined) return `${origin}: `;
  }
  return file === undefined ? '' : `${file.locate(path)}: `;
}

/** Variables that secret references name are used, even if they begin with the prefix. */
function referencedEnv(value: unknown): Set<string> {
  const found = new Set<string>();
  const visit = (node: unknown) => {
    if (Array.isArray(node)) node.forEach(visit);
    if (!isTree(node)) return;
    if (typeof node.env === 'string') found.add(node.env);
    Object.values(node).forEach(visit);
  };
  visit(value);
  return found;
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const child of Object.values(value)) deepFreeze(child);
}
