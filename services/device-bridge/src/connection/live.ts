import { fromBinary } from '@bufbuild/protobuf';
import { decodeFrame, encodeFrame, type Frame, FrameKind } from '@zerolatency/frame';
import { DrainSchema } from '@zerolatency/proto/bridge';
import { lost } from './lost.ts';
import { refusalOf, refused } from './refused.ts';
import { describeEnd, type LiveState, type Machine } from './state.ts';
import type { Wire } from './wire.ts';

interface Terms {
  readonly epoch: number;
  readonly heartbeatMs: number;
}

/** For a relay that names none, so that a dead socket is still found out. */
const defaultHeartbeatMs = 30_000;
/** A session that lasted so long was not part of a failure that repeats. */
const provenAfterMs = 10_000;
/** Spreads the devices of a draining relay over the others. */
const maxDrainJitterMs = 1_000;

/** Passes frames both ways until the socket ends, falls silent or the relay drains. */
export function live(machine: Machine, wire: Wire, { epoch, heartbeatMs }: Terms): LiveState {
  const { clock, limits, listener } = machine.deps;
  const silenceMs = 2 * (heartbeatMs || defaultHeartbeatMs);
  const sinceMs = clock.monotonicMs();
  let lastSignMs = sinceMs;

  const isProven = () => clock.monotonicMs() - sinceMs > provenAfterMs;
  const end = (why: string, retryInMs?: number) => {
    if (isProven()) machine.backoff.reset();
    machine.become(() => lost(machine, retryInMs === undefined ? { why } : { why, retryInMs }));
  };
  const giveUp = (why: string) => {
    wire.drop();
    end(why);
  };
  const drain = (frame: Frame) => {
    const withinMs = Math.min(maxDrainJitterMs, closeAfterMs(frame) / 2);
    wire.listen({});
    wire.close(1000, 'draining');
    const jitterMs = Math.floor(machine.deps.random() * withinMs);
    // One that drains whenever it has welcomed us would be dialled in a circle.
    end('the relay drains', isProven() ? jitterMs : Math.max(jitterMs, machine.backoff.nextMs()));
  };
  const hear = (frame: Frame) => {
    if (frame.kind > FrameKind.DRAIN) listener.onFrame(frame);
    else if (frame.kind === FrameKind.DRAIN) drain(frame);
    else giveUp(`the relay sent a frame of kind ${frame.kind} out of turn`);
  };
  const watch = () => {
    const silentMs = clock.monotonicMs() - lastSignMs;
    if (silentMs >= silenceMs) giveUp(`the relay was silent for ${Math.round(silentMs)} ms`);
    else watchdog = clock.setTimeout(watch, silenceMs - silentMs);
  };
  let watchdog = clock.setTimeout(watch, silenceMs);

  wire.listen({
    onMessage: (bytes) => {
      lastSignMs = clock.monotonicMs();
      const { frame, error } = decodeFrame(bytes);
      if (error) giveUp(error.message);
      else hear(frame);
    },
    onSign: () => {
      lastSignMs = clock.monotonicMs();
    },
    onClose: (closed) => {
      const refusal = refusalOf(closed);
      if (refusal === undefined) end(describeEnd(closed));
      else machine.become(() => refused(refusal));
    },
  });
  return {
    name: 'live',
    wire,
    epoch,
    send: (frame) => {
      wire.send(encodeFrame(frame));
      if (wire.bufferedBytes > limits.maxBufferedBytes) giveUp('the relay reads too slowly');
    },
    leave: () => clock.clearTimeout(watchdog),
  };
}

function closeAfterMs({ payload }: Frame): number {
  try {
    return fromBinary(DrainSchema, payload).closeAfterMs;
  } catch {
    // Not a Drain message; that the relay drains is said by the frame itself.
    return 0;
  }
}
