import type { Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';

/** Forwards bytes in order, unless it is paused. */
class Gate extends Transform {
  delayMs = 0;
  #isHolding = false;
  #held: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    // One chunk at a time: the next is only offered once this one is done.
    const go = () => this.#whenOpen(() => done(null, chunk));
    if (this.delayMs === 0) go();
    else this.#timer = setTimeout(go, this.delayMs);
  }

  override _flush(done: TransformCallback): void {
    this.#whenOpen(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#held = [];
    done(error);
  }

  hold(on: boolean): void {
    this.#isHolding = on;
    if (on) return;
    const held = this.#held;
    this.#held = [];
    for (const go of held) go();
  }

  #whenOpen(go: () => void): void {
    if (this.#isHolding) this.#held.push(go);
    else go();
  }
}

/** Both directions of one proxied connection. */
export class FaultyPipe {
  readonly #sockets: readonly [Socket, Socket];
  readonly #gates = [new Gate(), new Gate()] as const;
  readonly #closed: (() => void)[] = [];
  #isCut = false;

  constructor(client: Socket, upstream: Socket) {
    this.#sockets = [client, upstream];
    const [up, down] = this.#gates;
    client.setNoDelay(true).pipe(up).pipe(upstream.setNoDelay(true));
    upstream.pipe(down).pipe(client);
    let open = this.#sockets.length;
    for (const socket of this.#sockets) {
      socket.on('error', () => this.cut());
      socket.on('close', () => {
        open -= 1;
        if (open === 0) for (const listener of this.#closed) listener();
      });
    }
  }

  set delayMs(ms: number) {
    for (const gate of this.#gates) gate.delayMs = ms;
  }

  onClosed(listener: () => void): void {
    this.#closed.push(listener);
  }

  pause(on: boolean): void {
    for (const gate of this.#gates) gate.hold(on);
  }

  /** Resets both ends, as a firewall does. */
  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    for (const gate of this.#gates) gate.destroy();
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
}
