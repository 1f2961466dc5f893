/** Treats an optional field that is undefined as absent. */
export function withoutUnset<T extends object>(fields: T): T {
  if (!Object.values(fields).includes(undefined)) return fields;
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}
