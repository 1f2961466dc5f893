import { fromBinary } from '@bufbuild/protobuf';
import { decodeFrame, encodeFrame, type Frame, FrameKind, isKnownKind } from '@zerolatency/frame';
import { DrainSchema } from '@zerolatency/proto/bridge';
import { describeEnd, type LiveState, lost, type Machine, refusalOf, refused } from './state.ts';
import type { Wire } from './wire.ts';

interface Terms {
  readonly epoch: number;
  readonly heartbeatMs: number;
}

/** For a relay that names none, so that a dead socket is still noticed. */
const DEFAULT_HEARTBEAT_MS = 30_000;
/** A connection that lasted this long was not part of a repeating failure. */
const PROVEN_AFTER_MS = 10_000;
/** Spreads the devices of a draining relay over the others. */
const MAX_DRAIN_JITTER_MS = 1_000;

/** Passes frames both ways until the socket ends or falls silent, or the relay drains. */
export function live(machine: Machine, wire: Wire, { epoch, heartbeatMs }: Terms): LiveState {
  const { clock, limits, listener } = machine.deps;
  const silenceMs = 2 * (heartbeatMs || DEFAULT_HEARTBEAT_MS);
  const sinceMs = clock.monotonicMs();
  let lastHeardMs = sinceMs;

  const isProven = () => clock.monotonicMs() - sinceMs > PROVEN_AFTER_MS;
  const end = (why: string, retryInMs?: number) => {
    if (isProven()) machine.backoff.reset();
    machine.become(() => lost(machine, retryInMs === undefined ? { why } : { why, retryInMs }));
  };
  const drop = (why: string) => {
    wire.drop();
    end(why);
  };
  const drain = (frame: Frame) => {
    const withinMs = Math.min(MAX_DRAIN_JITTER_MS, closeAfterMs(frame) / 2);
    wire.listen({});
    wire.close(1000, 'draining');
    const jitterMs = Math.floor(machine.deps.random() * withinMs);
    // A relay that drains right after each welcome would be dialled in a loop.
    end('the relay drains', isProven() ? jitterMs : Math.max(jitterMs, machine.backoff.nextMs()));
  };
  const hear = (frame: Frame) => {
    if (!isKnownKind(frame.kind)) listener.onIgnored();
    else if (frame.kind > FrameKind.DRAIN) listener.onFrame(frame);
    else if (frame.kind === FrameKind.DRAIN) drain(frame);
    else drop(`the relay sent a frame of kind ${frame.kind} out of turn`);
  };
  const watch = () => {
    const silentMs = clock.monotonicMs() - lastHeardMs;
    if (silentMs >= silenceMs) drop(`the relay was silent for ${Math.round(silentMs)} ms`);
    else watchdog = clock.setTimeout(watch, silenceMs - silentMs);
  };
  let watchdog = clock.setTimeout(watch, silenceMs);

  wire.listen({
    onMessage: (bytes) => {
      lastHeardMs = clock.monotonicMs();
      const { frame, error } = decodeFrame(bytes);
      if (error) drop(error.message);
      else hear(frame);
    },
    onSign: () => {
      lastHeardMs = clock.monotonicMs();
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
      if (wire.bufferedBytes > limits.maxBufferedBytes) drop('the relay reads too slowly');
    },
    leave: () => clock.clearTimeout(watchdog),
  };
}

function closeAfterMs({ payload }: Frame): number {
  try {
    return fromBinary(DrainSchema, payload).closeAfterMs;
  } catch {
    // Not a Drain message; the frame's kind says enough.
    return 0;
  }
}
