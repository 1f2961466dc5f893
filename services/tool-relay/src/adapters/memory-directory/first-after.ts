interface Page {
  readonly after: string;
  readonly limit: number;
}

/**
 * The first names after a given one, in order. One pass that keeps as many as
 * are wanted: sorting a hundred thousand would stop the frames meanwhile.
 */
export function firstAfter(names: Iterable<string>, { after, limit }: Page): string[] {
  const first: string[] = [];
  for (const name of names) {
    if (name <= after) continue;
    const last = first.at(-1);
    if (first.length >= limit && last !== undefined && name > last) continue;
    first.splice(placeOf(name, first), 0, name);
    if (first.length > limit) first.pop();
  }
  return first;
}

function placeOf(name: string, sorted: readonly string[]): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
