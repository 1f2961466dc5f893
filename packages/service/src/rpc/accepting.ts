import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type AddressInfo, Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface AcceptingOptions {
  readonly host: string;
  readonly port: number;
  readonly onChange: (isAccepting: boolean) => void;
}

const PROBE_EVERY_MS = 1000;
/** With fewer than these free no connection is accepted; with more it is again. */
const DESCRIPTORS_TO_ACCEPT = 4;
const DESCRIPTORS_TO_RESUME = 8;
/** Kept for files, relays and providers: this many, or a quarter of the limit. */
const RESERVED_DESCRIPTORS = 64;

/** How many connections fit beside all else that needs a descriptor. */
export function spareDescriptors(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const limit = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
    const used = readdirSync('/proc/self/fd').length;
    return Math.max(1, Math.floor(limit - used - Math.max(RESERVED_DESCRIPTORS, limit / 4)));
  } catch {
    // Only Linux tells.
    return Number.POSITIVE_INFINITY;
  }
}

/**
 * Listens, except while the process has no file descriptors left. libuv would
 * accept and close every connection then, and without a spare descriptor spin.
 */
export class Accepting {
  readonly #server: Server;
  readonly #options: AcceptingOptions;
  readonly #closing = new AbortController();
  #port: number;
  #isAccepting = true;

  constructor(server: Server, options: AcceptingOptions) {
    this.#server = server;
    this.#options = options;
    this.#port = options.port;
  }

  get isAccepting(): boolean {
    return this.#isAccepting;
  }

  /** Returns the port. */
  async start(): Promise<number> {
    await this.#listen();
    this.#server.on('error', () => this.#pause());
    void this.#probe();
    return this.#port;
  }

  /** Resolves when every connection is closed. */
  close(): Promise<void> {
    this.#closing.abort();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, this.#options.host);
    // Rejects on an error, and never settles when the server is closed first.
    await once(this.#server, 'listening');
    // Listening on TCP always gives an address with a port.
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #pause(): void {
    if (!this.#isAccepting) return;
    this.#isAccepting = false;
    // Only the listening socket: an HTTP server would close its idle connections too.
    Server.prototype.close.call(this.#server);
    this.#options.onChange(false);
  }

  async #resume(): Promise<void> {
    try {
      await this.#listen();
      this.#isAccepting = true;
      this.#options.onChange(true);
    } catch {
      // The port or a descriptor is gone again; the next probe tries once more.
    }
  }

  async #probe(): Promise<void> {
    const { signal } = this.#closing;
    while (await sleep(PROBE_EVERY_MS, true, { signal, ref: false }).catch(() => false)) {
      const hasSpare = await canOpen(
        this.#isAccepting ? DESCRIPTORS_TO_ACCEPT : DESCRIPTORS_TO_RESUME,
      );
      if (signal.aborted) return;
      if (!hasSpare) this.#pause();
      else if (!this.#isAccepting) await this.#resume();
    }
  }
}

async function canOpen(count: number): Promise<boolean> {
  const opened = await Promise.allSettled(Array.from({ length: count }, () => open('/dev/null')));
  const files = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  await Promise.all(files.map((file) => file.close()));
  return files.length === count;
}
