import contract from '../../../../contracts/metrics/metrics.json' with { type: 'json' };

type Contract = typeof contract;

export type CounterName = keyof Contract['counters'];
export type GaugeName = keyof Contract['gauges'];
export type HistogramName = keyof Contract['histograms'];

export type LabelsOf<N> = N extends CounterName
  ? LabelValues<Contract['counters'][N]['labels']>
  : N extends GaugeName
    ? LabelValues<Contract['gauges'][N]['labels']>
    : N extends HistogramName
      ? LabelValues<Contract['histograms'][N]['labels']>
      : never;

type LabelValues<L> = { readonly [K in keyof L]: string };

export interface LabelBound {
  readonly values?: readonly string[];
  readonly bounded_by?: string;
  readonly max?: number;
}

export interface MetricEntry {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: Readonly<Record<string, LabelBound>>;
  readonly buckets?: readonly number[];
}

const { counters, gauges, histograms } = contract;

const entries: ReadonlyMap<string, MetricEntry> = new Map([
  ...kindOf('counter', counters),
  ...kindOf('gauge', gauges),
  ...kindOf('histogram', histograms),
]);

export function contractEntry(name: string): MetricEntry {
  const entry = entries.get(name);
  if (entry === undefined) throw new Error(`${name} is not in contracts/metrics/metrics.json`);
  return entry;
}

function kindOf(
  kind: MetricEntry['kind'],
  metrics: Readonly<Record<string, Omit<MetricEntry, 'kind'>>>,
): [string, MetricEntry][] {
  return Object.entries(metrics).map(([name, entry]) => [name, { kind, ...entry }]);
}
