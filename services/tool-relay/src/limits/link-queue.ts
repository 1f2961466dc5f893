/**
 * The part of the free room that one device may fill, as in a switch with a dynamic threshold: however
 * many devices flood a link, some room stays free, and a device that sends little is not cut.
 */
const DEVICE_SHARE = 0.5;

/** What one device has in the queue of a link, at most. */
export interface QueuedByDevice {
  /** Counted since `sinceBytes` bytes had been sent on the link, and before that. */
  bytes: number;
  earlierBytes: number;
  sinceBytes: number;
}

/** Which devices fill the queue of a link whose host reads slowly. */
export class LinkQueue {
  readonly #maxBytes: number;
  #sentBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Counts a frame, of which none is in the queue yet. Returns false when its device has no room for it. */
  add(device: QueuedByDevice, bytes: number, queuedBytes: number): boolean {
    if (this.#sentBytes - queuedBytes >= device.sinceBytes) {
      // The host has what was sent before.
      device.earlierBytes = device.bytes;
      device.bytes = 0;
      device.sinceBytes = this.#sentBytes;
    }
    const ofDevice = Math.min(device.bytes + device.earlierBytes, queuedBytes) + bytes;
    const freeBytes = this.#maxBytes - queuedBytes - bytes;
    if (queuedBytes > 0 && ofDevice > DEVICE_SHARE * freeBytes) return false;
    this.#sentBytes += bytes;
    device.bytes += bytes;
    return true;
  }
}
