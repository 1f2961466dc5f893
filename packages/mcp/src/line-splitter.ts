const newline = 0x0a;
const smallBytes = 64 * 1024;

/** Cuts a byte stream into lines and never holds more than one line's bound. */
export class LineSplitter {
  readonly #maxLineBytes: number;
  // One growing buffer and not a list of chunks: a peer that drips single bytes must not cost an object each.
  #held = Buffer.alloc(0);
  #heldBytes = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** Calls onLine for each complete line; false once a line is longer than the bound. */
  push(chunk: Buffer, onLine: (line: string) => void): boolean {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      if (this.#heldBytes + end - start > this.#maxLineBytes) return false;
      onLine(this.#take(chunk.subarray(start, end)));
      start = end + 1;
    }
    if (start === chunk.length) return true;
    if (this.#heldBytes + chunk.length - start > this.#maxLineBytes) return false;
    this.#hold(chunk.subarray(start));
    return true;
  }

  clear(): void {
    this.#heldBytes = 0;
    if (this.#held.length > smallBytes) this.#held = Buffer.alloc(0);
  }

  #take(last: Buffer): string {
    if (this.#heldBytes === 0) return last.toString('utf8');
    this.#hold(last);
    const line = this.#held.toString('utf8', 0, this.#heldBytes);
    this.clear();
    return line;
  }

  #hold(bytes: Buffer): void {
    const needed = this.#heldBytes + bytes.length;
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#held.length, smallBytes));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldBytes);
    this.#heldBytes = needed;
  }
}
