import type { Registry } from './metric.ts';
import { createTracing, type Tracing } from './tracing.ts';

const SIGNALS = ['traces', 'metrics', 'logs'] as const;

export type Signal = (typeof SIGNALS)[number];

export interface TelemetryOptions {
  readonly service: string;
  readonly version: string;
  readonly registry: Registry;
  /** The OTEL_* variables say whether there is a collector; the SDK reads the rest of them itself. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Telemetry extends Tracing {
  /** Sends a line of the logger to the collector. Absent when logs are not exported. */
  readonly sendLog?: (line: string) => void;
}

/** The OpenTelemetry SDK is loaded only where a collector is configured. */
export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const signals = exportedSignals(options.env);
  if (signals.size === 0) return createTracing(options);
  const { startOtlp } = await import('./otlp.ts');
  return startOtlp(signals, options);
}

function exportedSignals(env: TelemetryOptions['env']): ReadonlySet<Signal> {
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return new Set();
  const isExported = (signal: Signal) => {
    const name = signal.toUpperCase();
    if (env[`OTEL_${name}_EXPORTER`]?.trim() === 'none') return false;
    const endpoint =
      env[`OTEL_EXPORTER_OTLP_${name}_ENDPOINT`] || env.OTEL_EXPORTER_OTLP_ENDPOINT || '';
    return endpoint.trim() !== '';
  };
  return new Set(SIGNALS.filter(isExported));
}
