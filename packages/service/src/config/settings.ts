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
