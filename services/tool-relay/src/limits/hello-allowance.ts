/** A credential, a proof and a small catalog. */
export const HELLO_BYTES = 16 * 1024;
/** What a hello holds beside its catalog: head, credential, proof, journal id. */
const HELLO_OVERHEAD_BYTES = 32 * 1024;
/** Hellos with a larger catalog that are read at the same time. */
export const MAX_LARGE_HELLOS = 64;
/** A hello is one frame. A bridge may send pings. */
const MAX_FRAMES = 8;
/** A large hello in TLS records of the size of a network packet takes half as many. */
const MAX_READS = 512;

/** The hellos over HELLO_BYTES. When all places are taken, the oldest is closed. */
export class LargeHellos {
  readonly maxBytes: number;
  /** Oldest first. */
  readonly #open = new Map<HelloAllowance, () => void>();

  constructor(maxCatalogBytes: number) {
    this.maxBytes = maxCatalogBytes + HELLO_OVERHEAD_BYTES;
  }

  /** `evict` ends the socket of the hello. */
  enter(hello: HelloAllowance, evict: () => void): void {
    if (this.#open.has(hello)) return;
    if (this.#open.size >= MAX_LARGE_HELLOS) {
      for (const [oldest, evictOldest] of this.#open) {
        this.leave(oldest);
        evictOldest();
        break;
      }
    }
    this.#open.set(hello, evict);
  }

  leave(hello: HelloAllowance): void {
    this.#open.delete(hello);
  }
}

/** What a device may send before it has proved who it is. */
export class HelloAllowance {
  readonly #large: LargeHellos;
  readonly #evict: () => void;
  #bytes = 0;
  #reads = 0;
  #frames = 0;

  constructor(large: LargeHellos, evict: () => void) {
    this.#large = large;
    this.#evict = evict;
  }

  takeRead(bytes: number): boolean {
    this.#bytes += bytes;
    this.#reads += 1;
    if (this.#bytes > this.#large.maxBytes || this.#reads > MAX_READS) return false;
    if (this.#bytes > HELLO_BYTES) this.#large.enter(this, this.#evict);
    return true;
  }

  takeFrame(): boolean {
    this.#frames += 1;
    return this.#frames <= MAX_FRAMES;
  }

  /** The hello is no longer needed. */
  close(): void {
    this.#large.leave(this);
  }
}
