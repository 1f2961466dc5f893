export interface Lifetime {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Whatever is renewed at half its life never meets its end while somebody uses the installation. */
export function isPastHalf({ fromMs, untilMs }: Lifetime, nowMs: number): boolean {
  return untilMs - nowMs < (untilMs - fromMs) / 2;
}
