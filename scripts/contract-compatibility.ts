// What a later version of a contract must not take away from an earlier one.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AnySchemaObject } from 'ajv';
import init, { check_compat } from 'jsoncompat';

const wasm = createRequire(import.meta.url).resolve('jsoncompat/jsoncompat_wasm_bg.wasm');
await init({ module_or_path: readFileSync(wasm) });

export interface MetricContract {
  readonly [kind: string]: Readonly<Record<string, { readonly labels: object }>>;
}

/** Why a document that the released schema accepts may be refused now; undefined when none is. */
export function schemaFault(
  released: AnySchemaObject,
  current: AnySchemaObject,
): string | undefined {
  const gone = [...propertiesOf(released)].find((name) => !propertiesOf(current).has(name));
  if (gone !== undefined) return `it refuses the property ${gone}, which the release has`;
  try {
    if (!check_compat(comparable(released), comparable(current), 'deserializer')) {
      return 'it refuses documents that the release accepts';
    }
  } catch (reason) {
    return `it cannot be compared: ${String(reason)}`;
  }
  return undefined;
}

/** Where each property of the schema is defined; the comparison misses one that goes while it is required. */
function propertiesOf(schema: unknown, at = ''): Set<string> {
  if (typeof schema !== 'object' || schema === null) return new Set();
  const found = new Set<string>();
  for (const [key, value] of Object.entries(schema)) {
    if (at.endsWith('/properties')) found.add(`${at}/${key}`);
    for (const name of propertiesOf(value, `${at}/${key}`)) found.add(name);
  }
  return found;
}

/** The comparison knows local references only. */
function comparable({ $id: _, ...schema }: AnySchemaObject): string {
  return JSON.stringify(schema);
}

export function metricFaults(released: MetricContract, current: MetricContract): string[] {
  return ['counters', 'gauges', 'histograms'].flatMap((kind) =>
    Object.entries(released[kind] ?? {}).flatMap(([name, { labels }]) => {
      const now = current[kind]?.[name];
      if (now === undefined) return [`metric ${name} is gone from the ${kind}`];
      return Object.keys(labels)
        .filter((label) => !(label in now.labels))
        .map((label) => `metric ${name} lost its label ${label}`);
    }),
  );
}

export function errorFaults(released: object, current: object): string[] {
  return Object.keys(released)
    .filter((id) => !(id in current))
    .map((id) => `error ${id} is gone`);
}
