const FIRST_BYTES = 4096;

/** Collects a result of unknown length up to a bound, copying each byte at most twice on average. */
export class ResultBuffer {
  readonly #maxBytes: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#length;
  }

  /** False when the chunk does not fit; it is dropped then. */
  push(chunk: Uint8Array): boolean {
    const length = this.#length + chunk.length;
    if (length > this.#maxBytes) return false;
    if (length > this.#bytes.length) this.#grow(length);
    this.#bytes.set(chunk, this.#length);
    this.#length = length;
    return true;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(atLeast: number): void {
    const size = Math.min(this.#maxBytes, Math.max(atLeast, FIRST_BYTES, this.#bytes.length * 2));
    const bytes = new Uint8Array(size);
    bytes.set(this.view());
    this.#bytes = bytes;
  }
}
