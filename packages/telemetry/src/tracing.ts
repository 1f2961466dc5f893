import { context, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { spanMasker } from './span-masker.ts';

const EXPORT_TIMEOUT_MS = 5_000;
const BATCH_DELAY_MS = 1_000;
const MAX_QUEUED_SPANS = 4_096;
const MAX_ATTRIBUTE_CHARS = 4_096;

export interface TracingOptions {
  readonly service: string;
  readonly version: string;
  /** Where OTLP over HTTP is spoken, such as http://127.0.0.1:4318/v1/traces. Without it spans only make ids. */
  readonly otlpUrl?: string;
  /** Sees every span that ends, masked. */
  readonly onSpan?: (span: ReadableSpan) => void;
  /** Of traces that begin here; a caller's decision is kept. */
  readonly sampleRatio?: number;
}

export interface Tracing {
  readonly tracer: Tracer;
  flush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** A tracer of its own per service, so that several can live in one process. */
export function createTracing(options: TracingOptions): Tracing {
  const { service, version, sampleRatio = 1 } = options;
  // The one thing that is per process; a second call is refused, and the first serves all.
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }),
    spanLimits: { attributeValueLengthLimit: MAX_ATTRIBUTE_CHARS },
    spanProcessors: processors(options),
  });
  return {
    tracer: provider.getTracer('zerolatency', version),
    flush: () => provider.forceFlush(),
    shutdown: () => provider.shutdown(),
  };
}

function processors({ otlpUrl, onSpan }: TracingOptions): SpanProcessor[] {
  const found: SpanProcessor[] = [spanMasker];
  if (onSpan !== undefined) found.push(observer(onSpan));
  if (otlpUrl !== undefined) {
    found.push(
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url: otlpUrl, timeoutMillis: EXPORT_TIMEOUT_MS }),
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
        scheduledDelayMillis: BATCH_DELAY_MS,
        maxQueueSize: MAX_QUEUED_SPANS,
      }),
    );
  }
  return found;
}

function observer(onSpan: (span: ReadableSpan) => void): SpanProcessor {
  return {
    onStart: () => {},
    onEnd: onSpan,
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
}
