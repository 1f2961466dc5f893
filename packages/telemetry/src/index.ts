export { childBy } from './child-by.ts';
export { createLogger, type Logger, type LoggerOptions } from './logger.ts';
export type { Counter, Gauge, Histogram, MetricName, MetricOf } from './metric.ts';
export { gaugeFrom, metric } from './metric.ts';
export { extract, inject } from './propagation.ts';
export { createRegistry, type Registry } from './registry.ts';
export { inSpan, type SpanOptions } from './span.ts';
export { createTracing, type Tracing, type TracingOptions } from './tracing.ts';
