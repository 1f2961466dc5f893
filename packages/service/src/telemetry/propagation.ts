import { type Context, context as contextApi, ROOT_CONTEXT } from '@opentelemetry/api';
import { TRACE_PARENT_HEADER, W3CTraceContextPropagator } from '@opentelemetry/core';

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

/** A context whose span is the peer's; the root context when the text is no traceparent. */
export function extract(traceparent: string | undefined): Context {
  if (traceparent === undefined || traceparent === '') return ROOT_CONTEXT;
  return propagator.extract(ROOT_CONTEXT, traceparent, {
    keys: () => [TRACE_PARENT_HEADER],
    get: (carrier, name) => (name === TRACE_PARENT_HEADER ? carrier : undefined),
  });
}
