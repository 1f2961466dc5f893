import { appendFileSync } from 'node:fs';
import type { TestContext } from 'node:test';

/** What an attack measured. */
export interface Figure {
  /** The attack, as the table of docs/security.md names it. */
  readonly attack: string;
  /** The relay's socket engine, where sockets are attacked. */
  readonly engine?: 'uws' | 'ws';
  /** What is measured, such as "calls that succeed meanwhile". */
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** The short size lets an attack end within ten seconds; `make attack` mounts the long one. */
export function size<T>({ short, long }: { readonly short: T; readonly long: T }): T {
  return process.env.ZL_ATTACK === 'long' ? long : short;
}

/** The longest that one attack may take; nothing waits for it. */
export const TIMEOUT_MS = size({ short: 280_000, long: 3_500_000 });

/** Reports a figure in the test's output, and in the table of `make attack`. */
export function figure(t: TestContext, measured: Figure): void {
  t.diagnostic(lineOf(measured));
  const file = process.env.ZL_ATTACK_FIGURES;
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(measured)}\n`);
}

export function lineOf({ attack, engine, name, value, unit }: Figure): string {
  const shown = Number.isInteger(value) ? String(value) : value.toPrecision(3);
  const title = engine === undefined ? attack : `${attack} (${engine})`;
  return `${title.padEnd(40)} ${name.padEnd(44)} ${shown} ${unit}`;
}
