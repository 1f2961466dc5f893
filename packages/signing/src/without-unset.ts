/** Treats an optional field that is undefined as absent. */
export function withoutUnset<T extends object>(fields: T): T {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}
