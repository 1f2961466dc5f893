/** How a pod that shuts down lets its devices go. */
export interface DrainLimits {
  /** What each device has to move to another pod. */
  readonly closeAfterMs: number;
  readonly devicesPerSecond: number;
  /** When the process ends, whatever is still open. */
  readonly deadlineMs: number;
}

/** What closes after the devices needs the rest of the deadline. */
const SHARE_OF_DEADLINE = 0.8;
/** Between two steps; at 500 devices a second a step tells ten. */
const STEP_MS = 20;

/** Called in its turn, with the time until the socket is closed. */
type Tell = (closeAfterMs: number) => void;

/**
 * Tells devices one after another to move, so that the pods that take them in are not all
 * dialled at once. The rate is exceeded only where the deadline leaves less time.
 */
export class Shedding {
  /** From the start until the sockets are closed. */
  readonly lastsMs: number;
  readonly #tellingMs: number;
  readonly #monotonicMs: () => number;
  #startMs = 0;
  readonly #tells: readonly Tell[];
  #told = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(tells: readonly Tell[], limits: DrainLimits, monotonicMs: () => number) {
    const { closeAfterMs, devicesPerSecond, deadlineMs } = limits;
    const wantedMs = (Math.max(0, tells.length - 1) * 1000) / devicesPerSecond;
    const roomMs = Math.max(0, deadlineMs * SHARE_OF_DEADLINE - closeAfterMs);
    this.#tellingMs = Math.min(wantedMs, roomMs);
    this.lastsMs = Math.ceil(this.#tellingMs + closeAfterMs);
    this.#tells = tells;
    this.#monotonicMs = monotonicMs;
  }

  start(): void {
    this.#startMs = this.#monotonicMs();
    this.#tell(0);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #tell(passedMs: number): void {
    const due = this.#tellingMs === 0 ? 1 : Math.min(1, passedMs / this.#tellingMs);
    // The first is told at once, and the last at the end.
    const end = 1 + Math.floor(due * (this.#tells.length - 1));
    for (const tell of this.#tells.slice(this.#told, end))
      tell(Math.max(0, Math.floor(this.lastsMs - passedMs)));
    this.#told = end;
    if (end === this.#tells.length) return;
    const next = () => this.#tell(this.#monotonicMs() - this.#startMs);
    this.#timer = setTimeout(next, STEP_MS);
  }
}
