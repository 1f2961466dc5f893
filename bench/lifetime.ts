const cleanups: (() => unknown)[] = [];

/** What tests get from the runner, for a program. */
export const lifetime = {
  after(fn: () => unknown): void {
    cleanups.push(fn);
  },
};

/** In the order of registration, as the test runner does it. */
export async function cleanUp(): Promise<void> {
  for (const fn of cleanups.splice(0)) await fn();
}
