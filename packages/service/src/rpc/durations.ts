import { create } from '@bufbuild/protobuf';
import { type Duration, DurationSchema } from '@bufbuild/protobuf/wkt';

const MICROS_PER_SECOND = 1_000_000;

/** A google.protobuf.Duration of whole microseconds. */
export function durationFromMicros(us: number): Duration {
  const whole = Math.round(us);
  return create(DurationSchema, {
    seconds: BigInt(Math.trunc(whole / MICROS_PER_SECOND)),
    nanos: (whole % MICROS_PER_SECOND) * 1000,
  });
}

/** 0 when the field is absent. */
export function durationMicros(duration: Duration | undefined): number {
  if (duration === undefined) return 0;
  return Number(duration.seconds) * MICROS_PER_SECOND + duration.nanos / 1000;
}
