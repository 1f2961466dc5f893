import { maskJson, maskText } from '@zerolatency/redaction';

/** A line is read by people and paid for by the byte. */
const MAX_STRING_CHARS = 8_192;
const MAX_ITEMS = 100;
const MAX_DEPTH = 8;

/** What may stand in a log line or a trace: masked, bounded, without cycles. */
export function loggable(value: unknown, name = '', depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return maskedUnder(name, loggableText(value));
    case 'bigint':
      return value.toString();
    case 'function':
    case 'symbol':
      return undefined;
    case 'object':
      return value === null ? null : loggableObject(value, depth);
    default:
      return maskedUnder(name, value);
  }
}

export function loggableText(text: string): string {
  if (text.length <= MAX_STRING_CHARS) return maskText(text).text;
  const cut = text.length - MAX_STRING_CHARS;
  return `${maskText(text.slice(0, MAX_STRING_CHARS)).text}... [${cut} more]`;
}

function loggableObject(value: object, depth: number): unknown {
  if (depth >= MAX_DEPTH) return '[too deep]';
  if (value instanceof Error) return loggableError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) {
    return value.slice(0, MAX_ITEMS).map((item) => loggable(item, '', depth + 1));
  }
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(
    entries.map(([name, item]) => [loggableText(name), loggable(item, name, depth + 1)]),
  );
}

function loggableError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause, ...rest } = error;
  return {
    type: name,
    message: loggableText(message),
    ...(stack === undefined ? {} : { stack: loggableText(stack) }),
    ...(cause === undefined ? {} : { cause: loggable(cause, '', depth + 1) }),
    ...Object.fromEntries(
      Object.entries(rest)
        .slice(0, MAX_ITEMS)
        .map(([key, item]) => [key, loggable(item, key, depth + 1)]),
    ),
  };
}

/** The value under a name such as password is masked whatever it looks like. */
function maskedUnder(name: string, value: unknown): unknown {
  if (name === '') return value;
  const [[, masked] = ['', value]] = Object.entries(maskJson({ [name]: value }) ?? {});
  return masked;
}
