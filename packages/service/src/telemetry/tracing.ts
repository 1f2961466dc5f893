import { context, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { ExportResultCode } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { spanMasker } from './span-masker.ts';

const DEFAULT_EXPORT_TIMEOUT_MS = 5_000;
const BATCH_DELAY_MS = 1_000;
const MAX_QUEUED_SPANS = 4_096;
/** Beyond what is kept after masking, so that no half of a secret stays at the cut. */
const MAX_ATTRIBUTE_CHARS = 16_384;

const contextManager = new AsyncLocalStorageContextManager().enable();

export interface TracingOptions {
  readonly service: string;
  readonly version: string;
  /** Where OTLP over HTTP is spoken, such as http://127.0.0.1:4318/v1/traces. Without it spans only make ids. */
  readonly otlpUrl?: string;
  /** Sees every span that ends, masked. */
  readonly onSpan?: (span: ReadableSpan) => void;
  /** Of traces that begin here; a caller's decision is kept. */
  readonly sampleRatio?: number;
  /** Hears of each batch of spans that was lost. */
  readonly onExportError?: (error: unknown) => void;
  readonly exportTimeoutMs?: number;
}

export interface Tracing {
  readonly tracer: Tracer;
  flush(): Promise<void>;
  /** Sends what waits. Never rejects: nobody may fail for want of a collector. */
  shutdown(): Promise<void>;
}

/** A tracer of its own per service, so that several can live in one process. */
export function createTracing(options: TracingOptions): Tracing {
  const { service, version, sampleRatio = 1 } = options;
  // The one thing that is per process; a second call is refused, and the first serves all.
  context.setGlobalContextManager(contextManager);
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }),
    spanLimits: { attributeValueLengthLimit: MAX_ATTRIBUTE_CHARS },
    spanProcessors: processors(options),
  });
  return {
    tracer: provider.getTracer('zerolatency', version),
    // The exporter has told onExportError.
    flush: () => provider.forceFlush().catch(() => {}),
    shutdown: () => provider.shutdown().catch(() => {}),
  };
}

function processors(options: TracingOptions): SpanProcessor[] {
  const { otlpUrl, onSpan } = options;
  return [
    spanMasker,
    ...(onSpan === undefined ? [] : [observer(onSpan)]),
    ...(otlpUrl === undefined ? [] : [batches(otlpUrl, options)]),
  ];
}

function batches(url: string, options: TracingOptions): SpanProcessor {
  const { onExportError, exportTimeoutMs = DEFAULT_EXPORT_TIMEOUT_MS } = options;
  const otlp = new OTLPTraceExporter({ url, timeoutMillis: exportTimeoutMs });
  const exporter: SpanExporter = {
    export: (spans, done) =>
      otlp.export(spans, (result) => {
        if (result.code === ExportResultCode.FAILED) onExportError?.(result.error);
        done(result);
      }),
    forceFlush: () => otlp.forceFlush(),
    shutdown: () => otlp.shutdown(),
  };
  return new BatchSpanProcessor({
    exporter,
    exportTimeoutMillis: exportTimeoutMs,
    scheduledDelayMillis: BATCH_DELAY_MS,
    maxQueueSize: MAX_QUEUED_SPANS,
  });
}

function observer(onSpan: (span: ReadableSpan) => void): SpanProcessor {
  return {
    onStart: () => {},
    onEnd: onSpan,
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
}
