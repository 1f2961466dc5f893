/**
 * Strongly connected components (Tarjan), each before those that reach it.
 * Recursion is as deep as the graph is large, which callers bound.
 */
export function components(size: number, next: (node: number) => Iterable<number>): number[][] {
  const found: number[][] = [];
  const order = new Map<number, number>();
  const low = new Map<number, number>();
  const open: number[] = [];
  const isOpen = new Set<number>();

  const visit = (node: number): number => {
    let lowest = order.size;
    order.set(node, lowest);
    const own = lowest;
    open.push(node);
    isOpen.add(node);
    for (const other of next(node)) {
      if (!order.has(other)) lowest = Math.min(lowest, visit(other));
      else if (isOpen.has(other)) lowest = Math.min(lowest, order.get(other) ?? lowest);
    }
    low.set(node, lowest);
    if (lowest === own) found.push(closeFrom(node));
    return lowest;
  };

  const closeFrom = (node: number): number[] => {
    const members = open.splice(open.indexOf(node));
    for (const member of members) isOpen.delete(member);
    return members;
  };

  for (let node = 0; node < size; node++) if (!order.has(node)) visit(node);
  return found;
}
