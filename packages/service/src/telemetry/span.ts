import {
  type Attributes,
  type Context,
  context as contextApi,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
} from '@opentelemetry/api';

import { fromUnknown } from '@zerolatency/errors';

export interface SpanOptions {
  readonly attributes?: Attributes;
  readonly kind?: 'internal' | 'server' | 'client';
  /** The active context when absent. */
  readonly parent?: Context;
}

const kinds = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
} as const;

/** Runs work in a span of its own that ends with it and tells how it ended. */
export function inSpan<T>(
  tracer: Tracer,
  name: string,
  { attributes, kind = 'internal', parent = contextApi.active() }: SpanOptions,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const options = { kind: kinds[kind], ...(attributes === undefined ? {} : { attributes }) };
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
