import type { LabelBound } from './metric-contract.ts';

/** Stands for every value the contract has no room for. */
const OTHER = 'other';

/** Keeps the values of one metric's labels within the contract. */
export function boundLabels(
  bounds: Readonly<Record<string, LabelBound>>,
): (values: Readonly<Record<string, string>>) => Record<string, string> {
  const admit = Object.entries(bounds).map(([name, bound]) => [name, admission(bound)] as const);
  return (values) => {
    const bounded: Record<string, string> = {};
    for (const [name, admits] of admit) {
      const value = values[name] ?? '';
      bounded[name] = admits(value) ? value : OTHER;
    }
    return bounded;
  };
}

function admission({ values, max = 0 }: LabelBound): (value: string) => boolean {
  if (values !== undefined) {
    const allowed = new Set(values);
    return (value) => allowed.has(value);
  }
  // Whoever bounds these may fail at it; a time series too many is forever.
  const seen = new Set<string>();
  return (value) => {
    if (seen.has(value)) return true;
    if (seen.size >= max) return false;
    seen.add(value);
    return true;
  };
}
