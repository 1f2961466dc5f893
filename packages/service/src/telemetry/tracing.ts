import {
  type Attributes,
  type Context,
  context as contextApi,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace as traceApi,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { TRACE_PARENT_HEADER, W3CTraceContextPropagator } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { type ReadableSpan, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { fromUnknown } from '@zerolatency/errors';
import { Loggable } from './loggable.ts';

/** Longer than what masking keeps, so that a cut cannot leave half a secret. */
export const SPAN_LIMITS = { attributeValueLengthLimit: 16_384 };

const contextManager = new AsyncLocalStorageContextManager().enable();

export interface TracingOptions {
  readonly service: string;
  readonly version: string;
  /** Sees every span that ends, masked. */
  readonly onSpan?: (span: ReadableSpan) => void;
}

export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what waits. Never rejects: a missing collector must not fail the service. */
  shutdown(): Promise<void>;
}

/** Spans that stay in the process, for trace ids in logs and in calls. Each service has its own tracer. */
export function createTracing({ service, version, onSpan }: TracingOptions): Tracing {
  useAsyncContext();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }),
    spanLimits: SPAN_LIMITS,
    // Nobody sees what a span carries otherwise.
    spanProcessors: onSpan === undefined ? [] : [spanMasker, observer(onSpan)],
  });
  return {
    tracer: provider.getTracer('zerolatency', version),
    shutdown: () => provider.shutdown().catch(() => {}),
  };
}

/** The context manager is per process; a second registration is refused and the first serves all. */
export function useAsyncContext(): void {
  contextApi.setGlobalContextManager(contextManager);
}

function observer(onSpan: (span: ReadableSpan) => void): SpanProcessor {
  return {
    onStart: () => {},
    onEnd: onSpan,
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
}

const loggable = new Loggable();

/** Masks what a span carries before any exporter sees it, while it can still be changed. */
export const spanMasker: SpanProcessor = {
  onStart: () => {},
  onEnding: (span) => {
    span.updateName(loggable.text(span.name));
    maskInPlace(span.attributes);
    for (const event of span.events) {
      if (event.attributes !== undefined) maskInPlace(event.attributes);
    }
    const { code, message } = span.status;
    if (message !== undefined) span.setStatus({ code, message: loggable.text(message) });
  },
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

function maskInPlace(attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const masked = loggable.value(value, name);
    if (typeof masked === 'string' || Array.isArray(masked)) attributes[name] = masked;
  }
}

export interface SpanOptions {
  readonly attributes?: Attributes;
  readonly kind?: 'internal' | 'server' | 'client';
  /** The active context when absent. */
  readonly parent?: Context;
}

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
} as const;

/** Runs work in a span of its own that ends with it and records how it ended. */
export function inSpan<T>(
  tracer: Tracer,
  name: string,
  { attributes, kind = 'internal', parent = contextApi.active() }: SpanOptions,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const options = { kind: KINDS[kind], ...(attributes === undefined ? {} : { attributes }) };
  return tracer.startActiveSpan(name, options, parent, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.recordException(error instanceof Error ? error : String(error));
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute('error.type', fromUnknown(error).id);
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Empty when there is none. */
export function activeTraceId(): string {
  return traceApi.getActiveSpan()?.spanContext().traceId ?? '';
}

const propagator = new W3CTraceContextPropagator();

/** The traceparent of the span in a context, the active one by default; empty when there is none. */
export function inject(context: Context = contextApi.active()): string {
  let traceparent = '';
  propagator.inject(context, undefined, {
    set: (_carrier, name, value) => {
      if (name === TRACE_PARENT_HEADER) traceparent = value;
    },
  });
  return traceparent;
}

/** A context whose span is the peer's; the root context when the text is not a traceparent. */
export function extract(traceparent: string | undefined): Context {
  if (traceparent === undefined || traceparent === '') return ROOT_CONTEXT;
  return propagator.extract(ROOT_CONTEXT, traceparent, {
    keys: () => [TRACE_PARENT_HEADER],
    get: (carrier, name) => (name === TRACE_PARENT_HEADER ? carrier : undefined),
  });
}
