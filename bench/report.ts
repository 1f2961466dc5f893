import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** One figure and the baseline that was measured beside it, in the same run. */
export interface Figure {
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline: number;
  /** What the ratio should stay at or below; above it the figure is told as not met. */
  readonly goal?: number;
}

export interface Report {
  readonly name: string;
  readonly method: string;
  readonly figures: readonly Figure[];
}

/** Prints a table, and writes bench/out/<name>.json. */
export function report({ name, method, figures }: Report): void {
  const rows = figures.map(withRatio);
  console.log(`\n${name}: ${method}`);
  for (const { metric, value, unit, baseline, ratio, goal, met } of rows) {
    const verdict = goal === undefined ? '' : `  goal ${goal}x ${met ? 'met' : 'NOT MET'}`;
    console.log(
      `  ${metric.padEnd(44)}${round(value)} ${unit}  against ${round(baseline)}: ${round(ratio)}x${verdict}`,
    );
  }
  writeReport({ name, method, figures: rows });
}

/** Writes bench/out/<name>.json, with where and when it was measured. */
export function writeReport({
  figures,
  ...about
}: Record<'name' | 'method', string> & { readonly figures: readonly object[] }): void {
  mkdirSync('bench/out', { recursive: true });
  writeFileSync(
    `bench/out/${about.name}.json`,
    `${JSON.stringify({ ...about, ...surroundings(), figures }, null, 2)}\n`,
  );
}

function withRatio(figure: Figure) {
  const ratio = figure.value / figure.baseline;
  return { ...figure, ratio, met: figure.goal === undefined || ratio <= figure.goal };
}

function surroundings() {
  return {
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    measuredAt: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model ?? '', cores: cpus().length, memoryBytes: totalmem() },
    versions: { node: process.versions.node, v8: process.versions.v8 },
  };
}

export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function round(value: number): string {
  return value.toPrecision(3).replace(/e\+?(\d+)/, 'e$1');
}
