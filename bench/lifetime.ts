import type { Lifetime } from '../test/e2e/system.ts';

/** Runs a program with what tests get from their runner: clean-up in the order it was registered. */
export async function withLifetime(run: (lifetime: Lifetime) => Promise<void>): Promise<void> {
  const cleanups: (() => unknown)[] = [];
  try {
    await run({ after: (fn) => void cleanups.push(fn) });
  } finally {
    for (const fn of cleanups) await fn();
  }
}
