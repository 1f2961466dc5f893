import { isSecretName, maskText, type OnMasked } from '@zerolatency/redaction';

/** A line is read by people and paid for by the byte. */
const MAX_STRING_CHARS = 8_192;
const MAX_ITEMS = 100;
const MAX_DEPTH = 8;
const MASK = '[masked:secret]';

/** What may stand in a log line or a trace: masked, bounded, without cycles. */
export class Loggable {
  readonly #onMasked: OnMasked | undefined;

  constructor(onMasked?: OnMasked) {
    this.#onMasked = onMasked;
  }

  value(value: unknown, name = '', depth = 0): unknown {
    switch (typeof value) {
      case 'string':
        return value !== '' && isSecretName(name) ? this.#hide() : this.text(value);
      case 'number':
        return isSecretName(name) ? this.#hide() : value;
      case 'bigint':
        return value.toString();
      case 'function':
      case 'symbol':
        return undefined;
      case 'object':
        return value === null ? null : this.#object(value, depth);
      default:
        return value;
    }
  }

  text(text: string): string {
    if (text.length <= MAX_STRING_CHARS) return this.#mask(text);
    // Masked before it is cut, so that no half of a secret stays at the cut.
    const masked = this.#mask(text.slice(0, 2 * MAX_STRING_CHARS)).slice(0, MAX_STRING_CHARS);
    return `${masked}... [${text.length} characters]`;
  }

  fields(fields: object, depth = 0): Record<string, unknown> {
    const entries = Object.entries(fields).slice(0, MAX_ITEMS);
    return Object.fromEntries(
      entries.map(([name, value]) => [this.text(name), this.value(value, name, depth)]),
    );
  }

  #object(value: object, depth: number): unknown {
    if (depth >= MAX_DEPTH) return '[too deep]';
    if (value instanceof Error) return this.#error(value, depth);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (Array.isArray(value)) {
      return value.slice(0, MAX_ITEMS).map((item) => this.value(item, '', depth + 1));
    }
    return this.fields(value, depth + 1);
  }

  #error(error: Error, depth: number): Record<string, unknown> {
    const { name, message, stack, cause, ...rest } = error;
    return {
      type: name,
      message: this.text(message),
      ...(stack === undefined ? {} : { stack: this.text(stack) }),
      ...(cause === undefined ? {} : { cause: this.value(cause, '', depth + 1) }),
      ...this.fields(rest, depth + 1),
    };
  }

  #mask(text: string): string {
    return maskText(text, { onMasked: this.#onMasked }).text;
  }

  #hide(): string {
    this.#onMasked?.('secret');
    return MASK;
  }
}
