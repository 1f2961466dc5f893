export { LogThrottle } from './log-throttle.ts';
export { createLogger, type Log, type Logger } from './logger.ts';
export {
  type Counter,
  childBy,
  createRegistry,
  type Gauge,
  gaugeFrom,
  type Histogram,
  maskedSecrets,
  metric,
  metricFrom,
  type Registry,
} from './metric.ts';
export { openTelemetry } from './open-telemetry.ts';
export {
  activeTraceId,
  createTracing,
  extract,
  inject,
  inSpan,
  type SpanOptions,
  type TracingOptions,
} from './tracing.ts';
