import { type HrTime, ValueType } from '@opentelemetry/api';
import { hrTime, millisToHrTime } from '@opentelemetry/core';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { Registry } from './metric.ts';

type Registered = Awaited<ReturnType<Registry['getMetricsAsJSON']>>[number];
/** Histograms have one value for each bucket, the sum and the count, distinguished by metricName. */
type Sample = Registered['values'][number] & { readonly metricName?: string };

interface Period {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

/** Gives an OTLP reader the metrics that Prometheus scrapes, so that each is counted once. */
export function registryProducer(registry: Registry): MetricProducer {
  const startTime = millisToHrTime(Date.now());
  return {
    async collect() {
      const period = { startTime, endTime: hrTime() };
      const metrics = (await registry.getMetricsAsJSON()).map((each) => metricData(each, period));
      const scopeMetrics = [{ scope: { name: 'zerolatency' }, metrics }];
      return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
    },
  };
}

function metricData({ name, help, type, values }: Registered, period: Period): MetricData {
  const base = {
    descriptor: { name, description: help, unit: '', valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  // The library types it as a number and sets it to a word.
  switch (String(type)) {
    case 'histogram':
      return {
        ...base,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: histogramPoints(name, { samples: values, period }),
      };
    case 'counter':
      return {
        ...base,
        dataPointType: DataPointType.SUM,
        isMonotonic: true,
        dataPoints: values.map((sample) => point(sample, period)),
      };
    default:
      return {
        ...base,
        dataPointType: DataPointType.GAUGE,
        dataPoints: values.map((sample) => point(sample, period)),
      };
  }
}

function point({ labels, value }: Sample, period: Period): DataPoint<number> {
  return { ...period, attributes: labels, value };
}

function histogramPoints(
  name: string,
  { samples, period }: { samples: readonly Sample[]; period: Period },
): DataPoint<Histogram>[] {
  const series = Map.groupBy(samples, ({ labels: { le, ...labels } }) =>
    JSON.stringify(Object.entries(labels).sort()),
  );
  return [...series.values()].map((own) => {
    const { le, ...attributes } = own[0]?.labels ?? {};
    const total = (suffix: string) =>
      own.find(({ metricName }) => metricName === `${name}_${suffix}`)?.value ?? 0;
    const buckets = own.filter(({ metricName }) => metricName === `${name}_bucket`);
    const boundaries = buckets.map(({ labels }) => Number(labels.le)).filter(Number.isFinite);
    const count = total('count');
    // Prometheus adds up its buckets, OTLP does not; the last one has no upper bound.
    const below = [...buckets.slice(0, boundaries.length).map(({ value }) => value), count];
    const counts = below.map((value, index) => value - (below[index - 1] ?? 0));
    return {
      ...period,
      attributes,
      value: { buckets: { boundaries, counts }, sum: total('sum'), count },
    };
  });
}
