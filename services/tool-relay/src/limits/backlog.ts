import type { Side, Socket } from '../ports.ts';

type Queue = Pick<Socket, 'queuedBytes'>;

/** The sockets that bytes wait for, so that nobody has to ask all of them. */
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
