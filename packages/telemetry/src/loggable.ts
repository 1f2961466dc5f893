import { isSecretName, maskText } from '@zerolatency/redaction';

/** A line is read by people and paid for by the byte. */
const MAX_STRING_CHARS = 8_192;
const MAX_ITEMS = 100;
const MAX_DEPTH = 8;
const MASK = '[masked:secret]';

/** What may stand in a log line or a trace: masked, bounded, without cycles. */
export function loggable(value: unknown, name = '', depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return value !== '' && isSecretName(name) ? MASK : loggableText(value);
    case 'number':
      return isSecretName(name) ? MASK : value;
    case 'bigint':
      return value.toString();
    case 'function':
    case 'symbol':
      return undefined;
    case 'object':
      return value === null ? null : loggableObject(value, depth);
    default:
      return value;
  }
}

export function loggableText(text: string): string {
  if (text.length <= MAX_STRING_CHARS) return maskText(text).text;
  // Masked before it is cut, so that no half of a secret stays at the cut.
  const masked = maskText(text.slice(0, 2 * MAX_STRING_CHARS)).text.slice(0, MAX_STRING_CHARS);
  return `${masked}... [${text.length} characters]`;
}

function loggableObject(value: object, depth: number): unknown {
  if (depth >= MAX_DEPTH) return '[too deep]';
  if (value instanceof Error) return loggableError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) {
    return value.slice(0, MAX_ITEMS).map((item) => loggable(item, '', depth + 1));
  }
  return loggableFields(value, depth + 1);
}

export function loggableFields(fields: object, depth = 0): Record<string, unknown> {
  const entries = Object.entries(fields).slice(0, MAX_ITEMS);
  return Object.fromEntries(
    entries.map(([name, value]) => [loggableText(name), loggable(value, name, depth)]),
  );
}

function loggableError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause, ...rest } = error;
  return {
    type: name,
    message: loggableText(message),
    ...(stack === undefined ? {} : { stack: loggableText(stack) }),
    ...(cause === undefined ? {} : { cause: loggable(cause, '', depth + 1) }),
    ...loggableFields(rest, depth + 1),
  };
}
