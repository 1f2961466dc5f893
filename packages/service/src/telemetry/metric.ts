import {
  collectDefaultMetrics,
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
  Registry,
} from 'prom-client';
import contract from '../../../../contracts/metrics/metrics.json' with { type: 'json' };

export { Registry };

type Contract = typeof contract;

export type CounterName = keyof Contract['counters'];
export type GaugeName = keyof Contract['gauges'];
export type HistogramName = keyof Contract['histograms'];

type LabelsOf<N> = N extends CounterName
  ? LabelValues<Contract['counters'][N]['labels']>
  : N extends GaugeName
    ? LabelValues<Contract['gauges'][N]['labels']>
    : N extends HistogramName
      ? LabelValues<Contract['histograms'][N]['labels']>
      : never;

type LabelValues<L> = { readonly [K in keyof L]: string };

interface LabelBound {
  readonly values?: readonly string[];
  readonly bounded_by?: string;
  readonly max?: number;
}

interface MetricEntry {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: Readonly<Record<string, LabelBound>>;
  readonly buckets?: readonly number[];
}

const { counters, gauges, histograms } = contract;

const ENTRIES: ReadonlyMap<string, MetricEntry> = new Map([
  ...kindOf('counter', counters),
  ...kindOf('gauge', gauges),
  ...kindOf('histogram', histograms),
]);

function contractEntry(name: string): MetricEntry {
  const entry = ENTRIES.get(name);
  if (entry === undefined) throw new Error(`${name} is not in contracts/metrics/metrics.json`);
  return entry;
}

function kindOf(
  kind: MetricEntry['kind'],
  metrics: Readonly<Record<string, Omit<MetricEntry, 'kind'>>>,
): [string, MetricEntry][] {
  return Object.entries(metrics).map(([name, entry]) => [name, { kind, ...entry }]);
}

export type MetricName = CounterName | GaugeName | HistogramName;

/** A metric without labels takes no argument. */
type LabelArguments<N> = keyof LabelsOf<N> extends never
  ? [labels?: Readonly<Record<string, never>>]
  : [labels: LabelsOf<N>];

export interface CounterChild {
  inc(by?: number): void;
}

export interface GaugeChild {
  set(value: number): void;
  inc(by?: number): void;
  dec(by?: number): void;
}

export interface HistogramChild {
  observe(value: number): void;
}

export interface Counter<N extends CounterName> {
  labels(...labels: LabelArguments<N>): CounterChild;
}

export interface Gauge<N extends GaugeName> {
  labels(...labels: LabelArguments<N>): GaugeChild;
}

export interface Histogram<N extends HistogramName> {
  labels(...labels: LabelArguments<N>): HistogramChild;
}

export type MetricOf<N extends MetricName> = N extends CounterName
  ? Counter<N>
  : N extends GaugeName
    ? Gauge<N>
    : N extends HistogramName
      ? Histogram<N>
      : never;

type AnyMetric = { labels(labels?: Readonly<Record<string, string>>): unknown };

const madeMetrics = new WeakMap<Registry, Map<string, AnyMetric>>();

/**
 * A metric of the contract. Bind its children, .labels(...), in constructors.
 * A label value outside the contract's bound is counted as "other".
 */
export function metric<N extends MetricName>(registry: Registry, name: N): MetricOf<N>;
export function metric(registry: Registry, name: string): AnyMetric {
  const metrics = madeMetrics.get(registry) ?? new Map<string, AnyMetric>();
  madeMetrics.set(registry, metrics);
  const known = metrics.get(name);
  if (known !== undefined) return known;
  const created = create(registry, name, contractEntry(name));
  metrics.set(name, created);
  return created;
}

/** A gauge without labels, read when it is scraped. */
export function gaugeFrom(registry: Registry, name: GaugeName, read: () => number): void {
  const { help } = contractEntry(name);
  new PromGauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** Values by label, read when they are scraped: for counts too frequent for a labelled counter. */
export function metricFrom<N extends CounterName | GaugeName>(
  registry: Registry,
  name: N,
  read: () => readonly (readonly [labels: LabelsOf<N>, value: number])[],
): void {
  const { kind, help, labels } = contractEntry(name);
  const options = { name, help, labelNames: Object.keys(labels), registers: [registry] };
  if (kind === 'gauge') {
    new PromGauge({
      ...options,
      collect() {
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });
    return;
  }
  new PromCounter({
    ...options,
    collect() {
      this.reset();
      for (const [labels, value] of read()) this.inc(labels, value);
    },
  });
}

function create(registry: Registry, name: string, entry: MetricEntry): AnyMetric {
  const { kind, help, labels } = entry;
  const bounded = boundLabels(labels);
  const options = { name, help, labelNames: Object.keys(labels), registers: [registry] };
  const metric = (() => {
    switch (kind) {
      case 'counter':
        return new PromCounter(options);
      case 'gauge':
        return new PromGauge(options);
      case 'histogram':
        return new PromHistogram({ ...options, buckets: [...(entry.buckets ?? [])] });
    }
  })();
  return { labels: (values = {}) => metric.labels(bounded(values)) };
}

/** Stands for every value the contract has no room for. */
const OTHER = 'other';

/** Keeps the values of one metric's labels within the contract. */
function boundLabels(
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
  // The caller's own bound may fail, and an extra time series is kept forever.
  const seen = new Set<string>();
  return (value) => {
    if (seen.has(value)) return true;
    if (seen.size >= max) return false;
    seen.add(value);
    return true;
  };
}

/** Children of a metric by the value of a label, each bound once and then only looked up. */
export function childBy<Value extends string, Child>(
  bind: (value: Value) => Child,
): (value: Value) => Child {
  const children = new Map<Value, Child>();
  return (value) => {
    const known = children.get(value);
    if (known !== undefined) return known;
    const child = bind(value);
    children.set(value, child);
    return child;
  };
}

export interface RegistryOptions {
  readonly service: string;
  readonly version: string;
}

/** Each service has its own registry, so that several can live in one process. */
export function createRegistry({ service, version }: RegistryOptions): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  metric(registry, 'zl_build_info').labels({ version }).set(1);
  return registry;
}

/** Counts the secrets that were masked, by detector. */
export function maskedSecrets(registry: Registry): (detector: string) => void {
  const masked = metric(registry, 'zl_masked_secrets_total');
  const byDetector = childBy((detector) => masked.labels({ detector }));
  return (detector) => byDetector(detector).inc();
}
