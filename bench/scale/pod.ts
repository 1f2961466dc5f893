import { Arrivals } from '../../services/tool-relay/src/sockets/arrivals.ts';
import type { Arrival } from '../../services/tool-relay/src/sockets/socket-engine.ts';
import { type Fleet, NOWHERE } from './fleet.ts';

export interface PodLimits {
  readonly maxUnproved: number;
  readonly connectsPerAddress: number;
  readonly handshakeMs: number;
}

export interface PodOptions extends PodLimits {
  readonly fleet: Fleet;
  readonly nowMs: () => number;
}

/** One relay pod: the real bounds on arrivals, and one core that works first come, first served. */
export class Pod {
  isUp = true;
  isDraining = false;
  live = 0;
  /** Connections that the kernel holds until the program accepts them. */
  unaccepted = 0;
  renewalsLeft = 0;
  isBusy = false;
  /** Until when the core is busy with work beside the queue. */
  renewingUntilMs = 0;
  /** In the current second. */
  busyMs = 0;
  dials = 0;
  peakCpu = 0;
  peakDials = 0;
  readonly #options: PodOptions;
  readonly #arrivals = new Map<number, Arrival>();
  #gate: Arrivals;
  #head = NOWHERE;
  #tail = NOWHERE;
  #length = 0;

  constructor(options: PodOptions) {
    this.#options = options;
    this.#gate = this.#openGate();
  }

  get queued(): number {
    return this.#length;
  }

  /** Returns false when the gate refuses; `cut` is called when it takes the place back. */
  admit(device: number, cut: () => void): boolean {
    const arrival = this.#gate.arrive(this.#options.fleet.address(device), () => {
      this.#arrivals.delete(device);
      cut();
    });
    if (arrival !== undefined) this.#arrivals.set(device, arrival);
    return arrival !== undefined;
  }

  proved(device: number): void {
    this.#arrivals.get(device)?.proved();
    this.#arrivals.delete(device);
  }

  gone(device: number): void {
    this.#arrivals.get(device)?.gone();
    this.#arrivals.delete(device);
  }

  enqueue(device: number): void {
    const { next, previous } = this.#options.fleet;
    next[device] = NOWHERE;
    previous[device] = this.#tail;
    if (this.#tail === NOWHERE) this.#head = device;
    else next[this.#tail] = device;
    this.#tail = device;
    this.#length += 1;
  }

  get first(): number {
    return this.#head;
  }

  dequeue(device: number): void {
    const { next, previous } = this.#options.fleet;
    const before = previous[device] ?? NOWHERE;
    const after = next[device] ?? NOWHERE;
    if (before === NOWHERE) this.#head = after;
    else next[before] = after;
    if (after === NOWHERE) this.#tail = before;
    else previous[after] = before;
    this.#length -= 1;
  }

  /** The process is gone, and what it knew of its peers. */
  restart(): void {
    for (const arrival of this.#arrivals.values()) arrival.gone();
    this.#arrivals.clear();
    this.#gate = this.#openGate();
    this.#head = NOWHERE;
    this.#tail = NOWHERE;
    this.#length = 0;
    this.unaccepted = 0;
    this.renewalsLeft = 0;
    this.renewingUntilMs = 0;
  }

  #openGate(): Arrivals {
    const { maxUnproved, connectsPerAddress, handshakeMs, nowMs } = this.#options;
    return new Arrivals({
      max: maxUnproved,
      // Its timers never fire: the simulation ends before the event loop turns, and has a clock of its own.
      proveWithinMs: handshakeMs,
      connectsPerAddress,
      monotonicMs: nowMs,
      balancers: { kind: 'none', trusts: () => false },
      onUnadmitted() {},
    });
  }
}
