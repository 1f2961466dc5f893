export { childBy } from './child-by.ts';
export { createLogger, type Logger, type LoggerOptions } from './logger.ts';
export {
  type Counter,
  type Gauge,
  gaugeFrom,
  type Histogram,
  type MetricName,
  type MetricOf,
  metric,
} from './metric.ts';
export { extract, inject } from './propagation.ts';
export { createRegistry, type Registry } from './registry.ts';
export { inSpan, type SpanOptions } from './span.ts';
export { createTracing, type Tracing, type TracingOptions } from './tracing.ts';
