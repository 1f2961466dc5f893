/** Children of a metric by the value of a label, each bound once and then only looked up. */
export function childBy<Value extends string, Child>(
  bind: (value: Value) => Child,
): (value: Value) => Child {
  const children = new Map<Value, Child>();
  return (value) => {
    const known = children.get(value);
    if (known !== undefined) return known;
    const child = bind(value);
    children.set(value, child);
    return child;
  };
}
