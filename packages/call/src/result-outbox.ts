import { CHUNK_BYTES } from './callee-ports.ts';

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** The callee's end of a result's byte stream: what is kept, what may go, what has gone. */
export class ResultOutbox {
  #pieces: Piece[] = [];
  #bytes = 0;
  #sent = 0;
  #credit = 0;

  /** Length of the result so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Offset of the next byte to go. */
  get sent(): number {
    return this.#sent;
  }

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#pieces.push({ start: this.#bytes, bytes: Uint8Array.from(bytes) });
    this.#bytes += bytes.length;
  }

  /** The next chunk that credit allows, counted as sent; undefined when there is none. */
  next(): Piece | undefined {
    const end = Math.min(this.#credit, this.#bytes);
    if (this.#sent >= end) return undefined;
    const piece = this.#pieceAt(this.#sent);
    if (piece === undefined) return undefined;
    const start = this.#sent;
    const from = start - piece.start;
    const bytes = piece.bytes.subarray(from, Math.min(end - piece.start, from + CHUNK_BYTES));
    this.#sent += bytes.length;
    return { start, bytes };
  }

  allow(credit: number): void {
    this.#credit = Math.max(this.#credit, credit);
  }

  rewind(offset: number): void {
    this.#sent = offset;
  }

  /** The whole result, in one piece from now on. */
  whole(): Uint8Array {
    const [first] = this.#pieces;
    if (this.#pieces.length === 1 && first) return first.bytes;
    const bytes = Buffer.concat(this.#pieces.map((piece) => piece.bytes));
    this.#pieces = [{ start: 0, bytes }];
    return bytes;
  }

  /** Drops the bytes and says how many they were. */
  free(): number {
    const freed = this.#bytes;
    this.#pieces = [];
    this.#bytes = 0;
    return freed;
  }

  /** Pieces lie in order without gaps, so the right one is found by halving. */
  #pieceAt(offset: number): Piece | undefined {
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const piece = this.#pieces[middle];
      if (piece && piece.start <= offset) low = middle;
      else high = middle - 1;
    }
    return this.#pieces[low];
  }
}
