// What a later version of a contract must not take away from an earlier one.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Ajv2020, type AnySchemaObject } from 'ajv/dist/2020.js';
import init, { check_compat, generator_for } from 'jsoncompat';

/** Documents made from each released schema, and validated with today's. */
const SAMPLES = 200;
const SAMPLE_DEPTH = 6;

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
  const before = comparable(released);
  try {
    if (!check_compat(before, comparable(current), 'deserializer')) {
      return 'it refuses documents that the release accepts';
    }
  } catch (reason) {
    return `it cannot be compared: ${String(reason)}`;
  }
  return sampleFault(before, current);
}

/** The static comparison is young; samples catch what it misses. */
function sampleFault(before: string, current: AnySchemaObject): string | undefined {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  const accepts = ajv.compile(current);
  const generator = generator_for(before);
  for (let i = 0; i < SAMPLES; i += 1) {
    const sample = generator.generate_value(SAMPLE_DEPTH);
    if (!accepts(JSON.parse(sample))) {
      return `it refuses what the release accepts (${ajv.errorsText(accepts.errors)}): ${sample.slice(0, 200)}`;
    }
  }
  return undefined;
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
