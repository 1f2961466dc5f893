export interface Backoff {
  readonly startMs: number;
  readonly capMs: number;
  /** 0 up to 1. */
  readonly random: () => number;
}

/** Between half and all of the doubled wait, so that many who lost one relay do not come back as one. */
export function backoffMs({ startMs, capMs, random }: Backoff, failures: number): number {
  const fullMs = Math.min(capMs, startMs * 2 ** Math.min(failures, 30));
  return fullMs / 2 + (fullMs / 2) * random();
}
