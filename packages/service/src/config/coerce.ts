import { dereference, hasType, type JsonSchema } from './json-schema.ts';

/**
 * The value that a text from the environment or the command line means. What
 * cannot be read stays text, for the validator to refuse with its reason.
 */
export function coerce(text: string, schema: JsonSchema | undefined, root: JsonSchema): unknown {
  const target = schema === undefined ? undefined : dereference(schema, root);
  if (hasType(target, 'string') || target === undefined) return text;
  if (hasType(target, 'boolean') && /^(?:true|false)$/.test(text)) return text === 'true';
  if (hasType(target, 'integer') || hasType(target, 'number')) {
    const number = Number(text);
    if (text.trim() !== '' && Number.isFinite(number)) return number;
  }
  if (hasType(target, 'array')) return coerceArray(text, target.items, root);
  return parseJson(text) ?? text;
}

function coerceArray(text: string, items: JsonSchema | undefined, root: JsonSchema): unknown {
  if (text.trim() === '') return [];
  if (text.trimStart().startsWith('[')) return parseJson(text) ?? text;
  return text.split(',').map((item) => coerce(item.trim(), items, root));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the validator says what was expected instead.
    return undefined;
  }
}
