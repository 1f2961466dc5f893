/** Values by name; a name that is known and has nothing to say is undefined. */
export type TemplateValues = Readonly<Record<string, string | undefined>>;

const placeholder = /\{\{\s*(\w+)\s*(?:\|([^}]*))?\}\}/g;

export function fill(template: string, values: TemplateValues): string {
  return template.replaceAll(
    placeholder,
    (_all, name: string, fallback: string | undefined) => values[name] ?? fallback ?? '',
  );
}

/** Fills every string inside, and keeps the shape. */
export function fillDeep(value: unknown, values: TemplateValues): unknown {
  if (typeof value === 'string') return fill(value, values);
  if (Array.isArray(value)) return value.map((item) => fillDeep(item, values));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, fillDeep(item, values)]),
  );
}

export function placeholdersIn(value: unknown): readonly string[] {
  if (typeof value === 'string')
    return [...value.matchAll(placeholder)].map((match) => match[1] ?? '');
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(placeholdersIn);
}
