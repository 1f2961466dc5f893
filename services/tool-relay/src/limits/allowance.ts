export interface Rate {
  readonly framesPerSecond: number;
  readonly bytesPerSecond: number;
}

/** One second's worth may arrive at once. */
const BURST_MS = 1000;
/** Peers that write the header and the payload of a frame apart are read twice. */
const READS_PER_FRAME = 2;
/** Large frames arrive in TLS records of up to 16 KiB; some stacks begin with smaller ones. */
const BYTES_PER_READ = 4096;
/** Pings and pongs; a peer needs a few in a minute. */
const MAX_CONTROLS_PER_SECOND = 100;

/** Token buckets for the frames and the bytes that a peer may send, and the reads that they take. */
export class Allowance {
  readonly #rate: Rate;
  #frames: number;
  #bytes: number;
  #reads: number;
  #filledAtMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#frames = rate.framesPerSecond;
    this.#bytes = rate.bytesPerSecond;
    this.#reads = readsPerSecond(rate);
    this.#filledAtMs = nowMs;
  }

  /** Returns false, and takes nothing, when there is too little for a frame of this size. */
  take(bytes: number, nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#frames < 1 || this.#bytes < bytes) return false;
    this.#frames -= 1;
    this.#bytes -= bytes;
    return true;
  }

  /** A frame that has been read. Takes it also where there is too little, and then returns false. */
  charge(bytes: number, nowMs: number): boolean {
    this.#fill(nowMs);
    const isEnough = this.#frames >= 1 && this.#bytes >= bytes;
    this.#frames -= 1;
    this.#bytes -= bytes;
    return isEnough;
  }

  /** A message whose bytes have been read; taken as charge() does. */
  takeMessage(nowMs: number): boolean {
    this.#fill(nowMs);
    this.#frames -= 1;
    return this.#frames >= 0;
  }

  /** A ping or pong; taken as charge() does. */
  takeControl(nowMs: number): boolean {
    this.#fill(nowMs);
    this.#frames -= Math.max(1, this.#rate.framesPerSecond / MAX_CONTROLS_PER_SECOND);
    return this.#frames >= 0;
  }

  /** Taken as charge() does. A read may overdraw: where one frame ends in it, the next begins. */
  takeRead(bytes: number, nowMs: number): boolean {
    this.#fill(nowMs);
    const isEnough = this.#reads >= 1 && this.#bytes > 0;
    this.#reads -= 1;
    this.#bytes -= bytes;
    return isEnough;
  }

  /** How long until what was taken too much is made good. */
  debtMs(nowMs: number): number {
    this.#fill(nowMs);
    const { framesPerSecond, bytesPerSecond } = this.#rate;
    const seconds = Math.max(
      -this.#frames / framesPerSecond,
      -this.#bytes / bytesPerSecond,
      -this.#reads / readsPerSecond(this.#rate),
    );
    return Math.max(0, seconds * 1000);
  }

  #fill(nowMs: number): void {
    if (nowMs === this.#filledAtMs) return;
    const share = (nowMs - this.#filledAtMs) / BURST_MS;
    const { framesPerSecond, bytesPerSecond } = this.#rate;
    const reads = readsPerSecond(this.#rate);
    this.#frames = Math.min(framesPerSecond, this.#frames + share * framesPerSecond);
    this.#bytes = Math.min(bytesPerSecond, this.#bytes + share * bytesPerSecond);
    this.#reads = Math.min(reads, this.#reads + share * reads);
    this.#filledAtMs = nowMs;
  }
}

function readsPerSecond({ framesPerSecond, bytesPerSecond }: Rate): number {
  return framesPerSecond * READS_PER_FRAME + bytesPerSecond / BYTES_PER_READ;
}
