/** The two ends of a frame's way through the relay. */
export type Side = 'host' | 'device';

interface Queue {
  readonly queuedBytes: number;
}

/** The sockets with unsent bytes, so that a scrape need not ask every socket. */
export class Backlog {
  readonly #waiting: Readonly<Record<Side, Set<Queue>>> = { host: new Set(), device: new Set() };

  note(to: Side, socket: Queue): void {
    this.#waiting[to].add(socket);
  }

  forget(to: Side, socket: Queue): void {
    this.#waiting[to].delete(socket);
  }

  queuedBytes(to: Side): number {
    let sum = 0;
    for (const socket of this.#waiting[to]) {
      const { queuedBytes } = socket;
      if (queuedBytes === 0) this.#waiting[to].delete(socket);
      sum += queuedBytes;
    }
    return sum;
  }
}
