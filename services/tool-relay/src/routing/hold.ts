import type { LostReason } from '../ports.ts';
import type { Holder, LiveDevice } from './live-device.ts';

/** The part of a link that its holds use. */
export interface HoldingLink {
  readonly usage: { calls: number; readonly maxCalls: number };
  send(frame: Uint8Array): void;
  /** The device let go of the handle. */
  lost(handle: number, reason: LostReason): void;
}

/** One device that one link has opened. */
export class Hold implements Holder {
  readonly handle: number;
  readonly device: LiveDevice;
  readonly #link: HoldingLink;

  constructor(link: HoldingLink, handle: number, device: LiveDevice) {
    this.#link = link;
    this.handle = handle;
    this.device = device;
  }

  get usage() {
    return this.#link.usage;
  }

  deliver(frame: Uint8Array): void {
    this.#link.send(frame);
  }

  lost(reason: LostReason): void {
    this.#link.lost(this.handle, reason);
  }
}
