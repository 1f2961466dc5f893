import type { Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';

/** How one direction of a network behaves. */
export interface Weather {
  readonly latencyMs: number;
  /** Up to this much is added to the latency of each chunk; the order of chunks stays. */
  readonly jitterMs: number;
  /** Each chunk arrives in writes of this many bytes; 0 leaves chunks whole. */
  readonly sliceBytes: number;
}

export const CLEAR: Weather = { latencyMs: 0, jitterMs: 0, sliceBytes: 0 };

/** Slices are writes of their own, each in its own turn of the event loop; the rest of a chunk is whole. */
const MAX_SLICES = 256;

/**
 *   open <--hold--> holding
 *     |                |
 *     +--> silent <----+     final: drops all, and the end of the stream
 */
type GateState = 'open' | 'holding' | 'silent';

/** One direction of a connection: forwards bytes in order. */
class Gate extends Transform {
  weather = CLEAR;
  readonly #random: () => number;
  #state: GateState = 'open';
  #held: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #slice: NodeJS.Immediate | undefined;

  constructor(random: () => number) {
    super();
    this.#random = random;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    // One chunk at a time: the next is only offered once this one is done.
    const { latencyMs, jitterMs } = this.weather;
    const delayMs = latencyMs + jitterMs * this.#random();
    if (delayMs === 0) this.#pass(chunk, done);
    else this.#timer = setTimeout(() => this.#pass(chunk, done), delayMs);
  }

  override _flush(done: TransformCallback): void {
    this.#whenHeldNoMore(() => {
      if (this.#state === 'open') done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#slice);
    this.#held = [];
    done(error);
  }

  hold(on: boolean): void {
    if (this.#state !== 'silent') this.#become(on ? 'holding' : 'open');
  }

  vanish(): void {
    this.#become('silent');
  }

  #become(state: GateState): void {
    this.#state = state;
    if (state === 'holding') return;
    const held = this.#held;
    this.#held = [];
    for (const go of held) go();
  }

  #whenHeldNoMore(go: () => void): void {
    if (this.#state === 'holding') this.#held.push(go);
    else go();
  }

  #pass(chunk: Buffer, done: TransformCallback): void {
    this.#whenHeldNoMore(() => {
      if (this.#state === 'open') this.#pushSlices(chunk, MAX_SLICES, done);
      else done();
    });
  }

  #pushSlices(chunk: Buffer, left: number, done: TransformCallback): void {
    const { sliceBytes } = this.weather;
    if (left === 0 || sliceBytes === 0 || chunk.length <= sliceBytes) {
      done(null, chunk);
      return;
    }
    this.push(chunk.subarray(0, sliceBytes));
    const rest = chunk.subarray(sliceBytes);
    this.#slice = setImmediate(() => this.#pushSlices(rest, left - 1, done));
  }
}

export type Direction = 'up' | 'down';

/** Both directions of one proxied connection. */
export class FaultyPipe {
  readonly #sockets: readonly [Socket, Socket];
  readonly #gates: Readonly<Record<Direction, Gate>>;
  readonly #closed: (() => void)[] = [];
  #isCut = false;
  #isSilent = false;

  constructor(client: Socket, upstream: Socket, random: () => number = Math.random) {
    this.#sockets = [client, upstream];
    this.#gates = { up: new Gate(random), down: new Gate(random) };
    const { up, down } = this.#gates;
    client.setNoDelay(true).pipe(up).pipe(upstream.setNoDelay(true));
    upstream.pipe(down).pipe(client);
    let open = this.#sockets.length;
    for (const socket of this.#sockets) {
      socket.on('error', () => {
        if (!this.#isSilent) this.cut();
      });
      socket.on('close', () => {
        open -= 1;
        if (open === 0) for (const listener of this.#closed) listener();
      });
    }
  }

  weather(direction: Direction, weather: Weather): void {
    this.#gates[direction].weather = weather;
  }

  onClosed(listener: () => void): void {
    this.#closed.push(listener);
  }

  hold(direction: Direction, on: boolean): void {
    this.#gates[direction].hold(on);
  }

  /** Leaves each end with a connection on which nothing arrives any more. */
  vanish(): void {
    this.#isSilent = true;
    for (const gate of Object.values(this.#gates)) gate.vanish();
    // An end that gives up closes its own side only.
    for (const socket of this.#sockets) socket.resume().on('end', () => socket.destroy());
  }

  /** Resets both ends, as a firewall does. */
  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    for (const gate of Object.values(this.#gates)) gate.destroy();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
}
