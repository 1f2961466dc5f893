import { appendFileSync, cpSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Outcome, RunOptions } from './run.ts';

const FAMILIES = {
  host: 'kills of the host',
  relay: 'kills of a relay',
  bridge: 'kills of the bridge',
};
/** The first ones show what is wrong. */
const MAX_VIOLATIONS = 5;

/** Shows lines in the test's output, and in that of `make chaos`. */
export function show(t: TestContext, lines: readonly string[]): void {
  for (const line of lines) t.diagnostic(line);
  const file = process.env.ZL_CHAOS_REPORT;
  if (file !== undefined) appendFileSync(file, lines.map((line) => `${line}\n`).join(''));
}

export function linesOf({ seed, callers }: RunOptions, { verdict, played }: Outcome): string[] {
  const { calls, executed, outcomes, latestMs, executedTwice, withoutOutcome } = verdict;
  const { violations } = verdict;
  const row = (name: string, value: string | number) => `${name.padEnd(36)} ${value}`;
  const lines = [
    row('seed', `${seed} (${callers} callers)`),
    row('calls', `${calls}, of which ${executed} executed`),
    row('outcomes', listed(outcomes)),
    row('executed twice', executedTwice),
    row('no outcome within 5 s of being due', withoutOutcome),
    row('contradictions of any kind', violations.length),
    row('latest outcome, after it was due', `${(latestMs / 1000).toFixed(1)} s`),
  ];
  for (const [family, name] of Object.entries(FAMILIES)) {
    const acts = [...played].filter(([act]) => act.family === family);
    const times = acts.reduce((sum, [, count]) => sum + count, 0);
    lines.push(row(name, `${times} at ${acts.length} points`));
  }
  for (const [{ family, name }, count] of played) {
    if (family === 'fault') lines.push(row(`  ${name}`, count));
  }
  return [...lines, ...violations.slice(0, MAX_VIOLATIONS)];
}

function listed(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([name, count]) => `${name} ${count}`).join(', ');
}

/** Before the installation is removed. */
export function keepEvidence({ world }: Outcome, to: string): void {
  const { home, logs, host } = world.system.layout;
  cpSync(logs, join(to, 'log'), { recursive: true });
  cpSync(host.ledger, join(to, 'ledger'), { recursive: true });
  cpSync(join(home, 'counted.txt'), join(to, 'counted.txt'));
}
