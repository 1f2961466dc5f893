/** An optional field given as undefined is a field not given. */
export function withoutUnset<T extends object>(fields: T): T {
  if (!Object.values(fields).includes(undefined)) return fields;
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}
