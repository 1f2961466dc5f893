import type { SimDevice } from './device.ts';
import type { SimHost } from './host.ts';
import type { Network } from './network.ts';
import type { Timeline } from './timeline.ts';
import type { Variant } from './variant.ts';

const CONNECT_MS = 5;
const NEWS_MS = 3;
/** From the lease to the welcome at the device. */
const WELCOME_MS = 4;

/** Leases, and the news of them. Frames do not wait for it: they may arrive whatever the lease. */
export class SimRelay {
  readonly #timeline: Timeline;
  readonly #device: SimDevice;
  readonly #host: SimHost;
  readonly #routeFor: Variant['routeFor'];
  readonly #dropFrames: () => void;
  #epoch = 0;
  /** Counts the device's sockets, so that what was planned for an earlier one is dropped. */
  #socket = 0;
  /** Sockets with these epochs were handed over. */
  readonly #leftEpochs = new Set<number>();

  constructor(
    timeline: Timeline,
    ends: { readonly device: SimDevice; readonly host: SimHost; readonly network: Network },
    routeFor: Variant['routeFor'],
  ) {
    this.#timeline = timeline;
    this.#device = ends.device;
    this.#host = ends.host;
    this.#routeFor = routeFor;
    this.#dropFrames = () => ends.network.dropAll();
  }

  connect(afterMs = CONNECT_MS): void {
    this.#socket += 1;
    const socket = this.#socket;
    this.#timeline.after(afterMs, () => {
      if (socket !== this.#socket || !this.#device.isUp) return;
      this.#epoch += 1;
      this.#device.attach(this.#epoch);
      this.tellRoute();
    });
  }

  /** The socket is gone; another comes after a while. A host that has not heard of it keeps sending. */
  cut(downMs: number, isTold: boolean): void {
    if (!this.#device.isUp) return;
    this.#device.detach();
    if (isTold) this.#timeline.after(NEWS_MS, () => this.#host.routeLost());
    this.connect(downMs + CONNECT_MS);
  }

  /** Whatever still arrives on a socket of that epoch is dropped. */
  isLeft(epoch: number): boolean {
    return this.#leftEpochs.has(epoch);
  }

  /** The next pod takes the lease while the device is still served here, and then its socket. */
  handOver(failsMs: number): void {
    const socket = this.#socket;
    const from = this.#device.epoch;
    this.#timeline.after(CONNECT_MS, () => {
      if (socket !== this.#socket || from === undefined || this.#device.epoch !== from) return;
      this.#epoch += 1;
      const epoch = this.#epoch;
      if (failsMs > 0) {
        this.#timeline.after(failsMs, () => this.handOver(0));
        return;
      }
      this.#timeline.after(WELCOME_MS, () => {
        if (socket !== this.#socket || this.#device.epoch !== from) return;
        this.#leftEpochs.add(from);
        this.#device.attach(epoch);
        this.#timeline.after(NEWS_MS, () => this.#host.routeLost());
        this.tellRoute(2 * NEWS_MS);
      });
    });
  }

  /** The pod is gone, and with it both its sockets and every frame it was about to pass on. */
  crash(downMs: number): void {
    this.#dropFrames();
    this.#host.routeLost();
    this.cut(downMs, false);
  }

  /** The device's process is gone, and connects by itself when it is back. */
  deviceGone(): void {
    this.#socket += 1;
    this.#timeline.after(NEWS_MS, () => this.#host.routeLost());
  }

  tellRoute(afterMs = NEWS_MS): void {
    const socket = this.#socket;
    this.#timeline.after(afterMs, () => {
      if (socket !== this.#socket || this.#device.epoch === undefined) return;
      const journalId = this.#device.journal.id;
      this.#host.routeUp(this.#routeFor({ device: 1, epoch: this.#device.epoch, journalId }));
    });
  }
}
