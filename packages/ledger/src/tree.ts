import { hash } from 'node:crypto';

/** RFC 6962 section 2.1: the first byte tells a leaf from a node. */
const NODE_PREFIX = Buffer.of(0x01);

const EMPTY_ROOT: Uint8Array = hash('sha256', Buffer.alloc(0), 'buffer');

/** For bytes that already begin with the prefix 0x00. */
export function prefixedLeafHash(prefixed: Uint8Array): Uint8Array {
  return hash('sha256', prefixed, 'buffer');
}

export function leafHash(bytes: Uint8Array): Uint8Array {
  return prefixedLeafHash(Buffer.concat([Buffer.of(0x00), bytes]));
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return hash('sha256', Buffer.concat([NODE_PREFIX, left, right]), 'buffer');
}

/** What is needed to grow a tree: the roots of its perfect subtrees, largest first, one for each bit set in its size. */
export class MerkleFrontier {
  #size = 0;
  #roots: Uint8Array[] = [];

  /** Undefined unless there is one root for each bit set in the size. */
  static of(size: number, roots: readonly Uint8Array[]): MerkleFrontier | undefined {
    const bits = BigInt(size).toString(2).replaceAll('0', '').length;
    if (roots.length !== bits || roots.some((root) => root.length !== 32)) return undefined;
    const frontier = new MerkleFrontier();
    frontier.#size = size;
    frontier.#roots = [...roots];
    return frontier;
  }

  get size(): number {
    return this.#size;
  }

  /** The part of a range of leaves that is there already; its first leaf begins a subtree. */
  within({ from, to }: { readonly from: number; readonly to: number }): MerkleFrontier {
    const part = new MerkleFrontier();
    let at = 0;
    for (const root of this.#roots) {
      let leaves = 1;
      while (at + leaves * 2 <= this.#size) leaves *= 2;
      if (at >= from && at < to) {
        part.#roots.push(root);
        part.#size += leaves;
      }
      at += leaves;
    }
    return part;
  }

  get roots(): readonly Uint8Array[] {
    return this.#roots;
  }

  push(leaf: Uint8Array): void {
    let root = leaf;
    // Like adding one to a binary number: each carry joins two subtrees.
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = this.#roots.pop();
      if (left !== undefined) root = nodeHash(left, root);
    }
    this.#roots.push(root);
    this.#size++;
  }

  root(): Uint8Array {
    if (this.#roots.length === 0) return EMPTY_ROOT;
    return this.#roots.reduceRight((right, left) => nodeHash(left, right));
  }

  copy(): MerkleFrontier {
    const copy = new MerkleFrontier();
    copy.#size = this.#size;
    copy.#roots = [...this.#roots];
    return copy;
  }
}
