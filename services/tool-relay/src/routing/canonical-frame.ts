import { decodeFrame, encodeFrame, epochOf, isCanonical, offsetOf } from '@zerolatency/frame';

/**
 * The frame in its canonical form, which is the given bytes when they have it;
 * undefined when it is none, or one that the peer behind us would not take. Such
 * a frame must end the socket it came from, and not the one it would go to.
 */
export function canonicalFrame(bytes: Uint8Array, maxFrameBytes: number): Uint8Array | undefined {
  if (isCanonical(bytes)) return epochOf(bytes) < 0 || offsetOf(bytes) < 0 ? undefined : bytes;
  const { frame } = decodeFrame(bytes, maxFrameBytes);
  if (frame === undefined) return undefined;
  const encoded = encodeFrame(frame);
  // What was left out of it comes back, so it may have grown.
  return encoded.length > maxFrameBytes ? undefined : encoded;
}
