import type { Attributes } from '@opentelemetry/api';
import type { SpanProcessor } from '@opentelemetry/sdk-trace';
import { Loggable } from './loggable.ts';

const loggable = new Loggable();

/** Masks what a span carries while it can still be written, before any exporter sees it. */
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
