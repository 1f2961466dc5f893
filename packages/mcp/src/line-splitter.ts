import { isAscii } from 'node:buffer';

const NEWLINE = 0x0a;
const SMALL_BYTES = 64 * 1024;
const MAX_STDERR_LINE_BYTES = 4096;
/** A server that logs in a loop must not fill the bridge's log or its CPU. */
const MAX_STDERR_LINES_PER_SECOND = 50;

/** Enough of either end of a JSON-RPC message to find its id; no bound is lower. */
const END_BYTES = 256;
/** Reading on costs CPU; a server on Node can build no line of twice this length. */
const MAX_SKIPPED_BYTES = 256 * 1024 * 1024;

/** What is kept of a line above the bound. */
export interface LongLine {
  readonly head: string;
  readonly tail: string;
  readonly bytes: number;
}

interface LineSink {
  onLine(line: string): void;
  onLongLine(line: LongLine): void;
}

/** Cuts a byte stream into lines, holds at most one line's bound and skips what is longer. */
export class LineSplitter {
  readonly #maxLineBytes: number;
  readonly #sink: LineSink;
  // One growing buffer and not a list of chunks: a peer that drips single bytes must not cost an object each.
  #held = Buffer.alloc(0);
  #lineBytes = 0;
  /** The ends of a line above the bound. */
  #long: { readonly head: Buffer; tail: Buffer } | undefined;

  constructor(maxLineBytes: number, sink: LineSink) {
    this.#maxLineBytes = maxLineBytes;
    this.#sink = sink;
  }

  /** False once a line is so long that its end is not worth waiting for. */
  push(chunk: Buffer): boolean {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#end(chunk.subarray(start, end));
      start = end + 1;
    }
    if (start < chunk.length) this.#add(chunk.subarray(start));
    return this.#lineBytes <= MAX_SKIPPED_BYTES;
  }

  clear(): void {
    this.#lineBytes = 0;
    this.#long = undefined;
    if (this.#held.length > SMALL_BYTES) this.#held = Buffer.alloc(0);
  }

  #end(last: Buffer): void {
    if (this.#lineBytes === 0 && last.length <= this.#maxLineBytes) {
      this.#sink.onLine(textOf(last));
      return;
    }
    this.#add(last);
    const bytes = this.#lineBytes;
    const long = this.#long;
    const line = long === undefined ? textOf(this.#held.subarray(0, bytes)) : '';
    this.clear();
    if (long === undefined) this.#sink.onLine(line);
    else this.#sink.onLongLine({ head: `${long.head}`, tail: `${long.tail}`, bytes });
  }

  #add(bytes: Buffer): void {
    const heldBytes = this.#lineBytes;
    this.#lineBytes += bytes.length;
    if (this.#long !== undefined) {
      this.#long.tail = joined(this.#long.tail, bytes).subarray(-END_BYTES);
    } else if (this.#lineBytes > this.#maxLineBytes) {
      const held = this.#held.subarray(0, heldBytes);
      const head = joined(held.subarray(0, END_BYTES), bytes.subarray(0, END_BYTES));
      this.#long = {
        head: head.subarray(0, END_BYTES),
        tail: joined(held, bytes).subarray(-END_BYTES),
      };
      this.#held = Buffer.alloc(0);
    } else {
      this.#hold(bytes, heldBytes);
    }
  }

  #hold(bytes: Buffer, heldBytes: number): void {
    const needed = heldBytes + bytes.length;
    if (needed > this.#held.length) {
      const roomy = Math.min(Math.max(2 * this.#held.length, SMALL_BYTES), this.#maxLineBytes);
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, roomy));
      this.#held.copy(grown, 0, 0, heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, heldBytes);
  }
}

/** Most lines are ASCII, and copying one takes a fifth of the time that decoding UTF-8 does. */
function textOf(line: Buffer): string {
  return line.toString(isAscii(line) ? 'latin1' : 'utf8');
}

/** The end of one and the beginning of the other, in memory of their own. */
function joined(one: Buffer, other: Buffer): Buffer {
  return Buffer.concat([one.subarray(-END_BYTES), other.subarray(-END_BYTES)]);
}

/** Passes a server's stderr on line by line, within bounds. */
export function stderrLines(onLine: (line: string) => void): (chunk: Buffer) => void {
  let windowStartMs = 0;
  let lines = 0;
  let dropped = 0;

  const admit = (line: string) => {
    const nowMs = performance.now();
    if (nowMs - windowStartMs > 1000) {
      if (dropped > 0) onLine(`(lines dropped: ${dropped})`);
      windowStartMs = nowMs;
      lines = 0;
      dropped = 0;
    }
    if (++lines > MAX_STDERR_LINES_PER_SECOND) dropped++;
    else onLine(line);
  };

  const splitter = new LineSplitter(MAX_STDERR_LINE_BYTES, {
    onLine: admit,
    onLongLine: ({ bytes }) => admit(`(a line of ${bytes} bytes was dropped)`),
  });
  return (chunk) => void splitter.push(chunk);
}
