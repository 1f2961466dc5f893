export { createLogger, type Logger, type LoggerOptions } from './logger.ts';
export {
  type Counter,
  childBy,
  createRegistry,
  type Gauge,
  gaugeFrom,
  type Histogram,
  type MetricName,
  type MetricOf,
  maskedSecrets,
  metric,
  metricFrom,
  type Registry,
} from './metric.ts';
export { openTelemetry, type Telemetry } from './open-telemetry.ts';
export {
  createTracing,
  extract,
  inject,
  inSpan,
  type SpanOptions,
  type Tracing,
  type TracingOptions,
} from './tracing.ts';
