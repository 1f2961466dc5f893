import { ZlError } from '@zerolatency/errors';
import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { isTree, type Tree } from './settings.ts';

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

/** Of the key, where the value is found under one. */
function offsetOf(document: Document, path: readonly string[]): number | undefined {
  const parent: unknown = path.length > 1 ? document.getIn(path.slice(0, -1)) : document.contents;
  const name = path.at(-1);
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find(({ key }) => isScalar(key) && String(key.value) === name);
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}
