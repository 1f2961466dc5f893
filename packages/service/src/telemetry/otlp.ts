import {
  DiagLogLevel,
  diag,
  logs,
  ROOT_CONTEXT,
  SeverityNumber,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import {
  envDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace';
import { ZlError } from '@zerolatency/errors';
import { createLogger } from './logger.ts';
import type { Signal, Telemetry, TelemetryOptions } from './open-telemetry.ts';
import { registryProducer } from './registry-producer.ts';
import { SPAN_LIMITS, spanMasker, useAsyncContext } from './tracing.ts';

const DEFAULT_EXPORT_INTERVAL_MS = 60_000;
const SPAN_BATCH = { scheduledDelayMillis: 1_000, maxQueueSize: 4_096 };

const SEVERITIES: Readonly<Record<string, SeverityNumber>> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
  fatal: SeverityNumber.FATAL,
};

/** The SDK makes its exporters from the environment, except where ours must stand before them. */
export async function startOtlp(
  signals: ReadonlySet<Signal>,
  options: TelemetryOptions,
): Promise<Telemetry> {
  const { service, version, registry, env } = options;
  useAsyncContext();
  const sdk = new NodeSDK({
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    // Calls carry their trace context in fields of their own.
    textMapPropagator: null,
    // The other detectors send the command line, which may hold private paths and settings.
    resourceDetectors: [serviceInstanceIdDetector, envDetector],
    spanLimits: SPAN_LIMITS,
    spanProcessors: signals.has('traces')
      ? [spanMasker, new BatchSpanProcessor({ exporter: await spanExporter(env), ...SPAN_BATCH })]
      : [spanMasker],
    metricReaders: signals.has('metrics')
      ? [
          new PeriodicExportingMetricReader({
            exporter: await metricExporter(env),
            metricProducers: [registryProducer(registry)],
            exportIntervalMillis: exportIntervalMs(env),
          }),
        ]
      : [],
    // Lines are masked before they are written, so the exporters of the SDK can take them as they are.
    ...(signals.has('logs') ? {} : { logRecordProcessors: [] }),
  });
  sdk.start();
  reportFailures(options);
  return {
    tracer: trace.getTracer('zerolatency', version),
    ...(signals.has('logs') && { sendLog }),
    shutdown: () => sdk.shutdown().catch(() => {}),
  };
}

/** Writes to standard output only: an exported log cannot report that its export fails. */
function reportFailures({ service, version }: TelemetryOptions): void {
  const log = createLogger({ service, version, level: 'warn' });
  const warn = (message: string, ...details: unknown[]) => log.warn({ details }, message);
  const ignore = () => {};
  diag.setLogger(
    { error: warn, warn, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

function protocolOf(env: TelemetryOptions['env'], signal: 'TRACES' | 'METRICS'): string {
  const name = `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`;
  return (env[name] || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/protobuf').trim();
}

async function spanExporter(env: TelemetryOptions['env']) {
  const protocol = protocolOf(env, 'TRACES');
  switch (protocol) {
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter();
    default:
      throw unsupported(protocol);
  }
}

async function metricExporter(env: TelemetryOptions['env']) {
  const protocol = protocolOf(env, 'METRICS');
  switch (protocol) {
    case 'http/protobuf':
      return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter();
    case 'http/json':
      return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter();
    default:
      throw unsupported(protocol);
  }
}

/** Read as the SDK does: a value that is not a positive number counts as absent. */
function exportIntervalMs({ OTEL_METRIC_EXPORT_INTERVAL }: TelemetryOptions['env']): number {
  const ms = Number(OTEL_METRIC_EXPORT_INTERVAL);
  return ms > 0 ? ms : DEFAULT_EXPORT_INTERVAL_MS;
}

function unsupported(protocol: string): ZlError {
  return new ZlError(
    'config.invalid',
    `OTEL_EXPORTER_OTLP_PROTOCOL is ${protocol}; set it to http/protobuf or http/json`,
  );
}

function sendLog(line: string): void {
  const { level, time, msg, trace_id, span_id, service, version, ...attributes } = JSON.parse(line);
  const span = { traceId: trace_id, spanId: span_id, traceFlags: TraceFlags.NONE };
  logs.getLogger('zerolatency', version).emit({
    timestamp: new Date(time),
    severityNumber: SEVERITIES[level] ?? SeverityNumber.UNSPECIFIED,
    severityText: level,
    body: msg,
    attributes,
    context: trace_id === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, span),
  });
}
