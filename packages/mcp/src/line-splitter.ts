const NEWLINE = 0x0a;
const SMALL_BYTES = 64 * 1024;
const MAX_STDERR_LINE_BYTES = 4096;
/** A server that logs in a loop must not fill the bridge's log or its CPU. */
const MAX_STDERR_LINES_PER_SECOND = 50;

/** Cuts a byte stream into lines and holds at most one line's bound. */
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
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
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
    if (this.#held.length > SMALL_BYTES) this.#held = Buffer.alloc(0);
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
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#held.length, SMALL_BYTES));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldBytes);
    this.#heldBytes = needed;
  }
}

/** Passes a server's stderr on line by line, within bounds. */
export function stderrLines(onLine: (line: string) => void): (chunk: Buffer) => void {
  const splitter = new LineSplitter(MAX_STDERR_LINE_BYTES);
  let windowStartMs = 0;
  let lines = 0;
  let dropped = 0;

  const admit = (line: string) => {
    const nowMs = performance.now();
    if (nowMs - windowStartMs > 1000) {
      if (dropped > 0) onLine(`(${dropped} lines dropped)`);
      windowStartMs = nowMs;
      lines = 0;
      dropped = 0;
    }
    if (++lines > MAX_STDERR_LINES_PER_SECOND) dropped++;
    else onLine(line);
  };

  return (chunk) => {
    if (splitter.push(chunk, admit)) return;
    splitter.clear();
    admit('(a line longer than the bound was dropped)');
  };
}
