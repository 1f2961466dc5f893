import type { Attributes } from '@opentelemetry/api';
import type { SpanProcessor } from '@opentelemetry/sdk-trace';
import { loggable } from './loggable.ts';

/** Masks what a span carries while it can still be written, before any exporter sees it. */
export const spanMasker: SpanProcessor = {
  onStart: () => {},
  onEnding: (span) => {
    span.updateName(maskedText(span.name));
    maskInPlace(span.attributes);
    for (const event of span.events) {
      if (event.attributes !== undefined) maskInPlace(event.attributes);
    }
    const { code, message } = span.status;
    if (message !== undefined) span.setStatus({ code, message: maskedText(message) });
  },
  onEnd: () => {},
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
};

function maskInPlace(attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const masked = loggable(value, name);
    if (typeof masked === 'string' || Array.isArray(masked)) attributes[name] = masked;
  }
}

function maskedText(text: string): string {
  const masked = loggable(text);
  return typeof masked === 'string' ? masked : '';
}
