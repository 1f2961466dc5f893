/**
 * The time of day for deadlines and expiry, which other machines name: a laptop
 * that slept must know it. What must not jump is measured on the other one.
 */
export const clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimeout: (run: () => void, delayMs: number): unknown => setTimeout(run, delayMs),
  clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout | undefined),
};
