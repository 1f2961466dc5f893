const FIRST_BYTES = 4096;

/** Collects a result whose length the caller machine bounds, copying each byte twice at most on average. */
export class ResultBuffer {
  #bytes: Uint8Array = new Uint8Array(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#bytes.length) this.#grow(length);
    this.#bytes.set(chunk, this.#length);
    this.#length = length;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(atLeast: number): void {
    const bytes = new Uint8Array(Math.max(atLeast, FIRST_BYTES, this.#bytes.length * 2));
    bytes.set(this.view());
    this.#bytes = bytes;
  }
}
