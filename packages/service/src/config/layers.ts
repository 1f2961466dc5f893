import { ZlError } from '@zerolatency/errors';
import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { childSchema, dereference, hasType, type JsonSchema } from './schema.ts';

/** Values by path, as the layers of a configuration lay them over each other. */
export type Tree = { [name: string]: unknown };

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Sets a value at a path, making or replacing what is not an object on the way. */
export function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  const [name, ...rest] = path;
  if (name === undefined) return;
  if (rest.length === 0) {
    define(tree, name, value);
    return;
  }
  const own = Object.hasOwn(tree, name) ? tree[name] : undefined;
  // A copy, because aliases in YAML are one object in two places.
  const child = isTree(own) ? { ...own } : {};
  define(tree, name, child);
  setAt(child, rest, value);
}

/** As an own property also where the name is __proto__. */
function define(tree: Tree, name: string, value: unknown): void {
  Object.defineProperty(tree, name, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  });
}

/** Aliases make a small file large. */
const MAX_ALIASES = 100;

export interface FileLayer {
  readonly tree: Tree;
  /** Such as "host.yaml:12", or the file alone where the path is not in it. */
  locate(path: readonly string[]): string;
}

export function readFileLayer({ path, text }: { path: string; text: string }): FileLayer {
  const lines = new LineCounter();
  // Pretty errors quote the file, which may hold a secret just where it is broken.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const broken = document.errors.map(
      ({ pos, message }) => `${path}:${lines.linePos(pos[0]).line}: ${message}`,
    );
    throw new ZlError('config.invalid', broken.join('\n'));
  }
  const tree = toTree(document, path);
  return {
    tree,
    locate: (at) => {
      const offset = offsetOf(document, at);
      return offset === undefined ? path : `${path}:${lines.linePos(offset).line}`;
    },
  };
}

function toTree(document: Document, path: string): Tree {
  const value = toValue(document, path);
  if (value === null || value === undefined) return {};
  if (!isTree(value)) throw new ZlError('config.invalid', `${path}: must hold settings by name`);
  return value;
}

function toValue(document: Document, path: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    throw new ZlError('config.invalid', `${path}: has too many aliases`, { cause });
  }
}

/** The offset of the key, where the value has one. */
function offsetOf(document: Document, path: readonly string[]): number | undefined {
  const parent: unknown = path.length > 1 ? document.getIn(path.slice(0, -1)) : document.contents;
  const name = path.at(-1);
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find(({ key }) => isScalar(key) && String(key.value) === name);
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}

export interface EnvSetting {
  readonly path: readonly string[];
  readonly schema: JsonSchema;
}

/** rpc.maxBytes is ZL_HOST_RPC__MAX_BYTES. */
function envName(prefix: string, path: readonly string[]): string {
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

/**
 * The value that a text from the environment or the command line means. What
 * cannot be read stays text, for the validator to refuse with its reason.
 */
export function coerce(text: string, schema: JsonSchema | undefined, root: JsonSchema): unknown {
  const target = schema === undefined ? undefined : dereference(schema, root);
  if (hasType(target, 'string') || target === undefined) return text;
  if (hasType(target, 'boolean') && /^(?:true|false)$/.test(text)) return text === 'true';
  if (hasType(target, 'integer') || hasType(target, 'number')) {
    const number = Number(text);
    if (text.trim() !== '' && Number.isFinite(number)) return number;
  }
  if (hasType(target, 'array')) return coerceArray(text, target.items, root);
  return parseJson(text) ?? text;
}

function coerceArray(text: string, items: JsonSchema | undefined, root: JsonSchema): unknown {
  if (text.trim() === '') return [];
  if (text.trimStart().startsWith('[')) return parseJson(text) ?? text;
  return text.split(',').map((item) => coerce(item.trim(), items, root));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the validator says what was expected instead.
    return undefined;
  }
}
