interface Waiting {
  flush(): void;
}

/**
 * Everything that is sent leaves after the loop has read what there was to read.
 *
 * It must: uSockets shares one TLS input buffer among all sockets, and a write
 * to any of them while a full buffer (512 KiB) of another is being delivered
 * drops the rest of it, which ends that connection. And it pays: frames for one
 * socket share a TLS record and a system call.
 */
export class Outbox {
  #waiting: Waiting[] = [];
  #isScheduled = false;

  add(socket: Waiting): void {
    this.#waiting.push(socket);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.flush());
  }

  flush(): void {
    this.#isScheduled = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const socket of waiting) socket.flush();
  }
}
