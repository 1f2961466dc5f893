import type { Registry } from 'prom-client';
import {
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
} from 'prom-client';
import { boundLabels } from './label-bounds.ts';
import {
  type CounterName,
  contractEntry,
  type GaugeName,
  type HistogramName,
  type LabelsOf,
  type MetricEntry,
} from './metric-contract.ts';

export type MetricName = CounterName | GaugeName | HistogramName;

/** What a label-less metric takes nothing for. */
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

const made = new WeakMap<Registry, Map<string, AnyMetric>>();

/**
 * A metric of the contract. Bind its children, .labels(...), in constructors.
 * A label value outside the contract's bound is counted as "other".
 */
export function metric<N extends MetricName>(registry: Registry, name: N): MetricOf<N>;
export function metric(registry: Registry, name: string): AnyMetric {
  const metrics = made.get(registry) ?? new Map<string, AnyMetric>();
  made.set(registry, metrics);
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
