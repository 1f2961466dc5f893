import { type CharSet, overlaps } from './char-set.ts';
import { type PatternNode, UnsupportedPattern } from './pattern-syntax.ts';

/** How often each position can be reached by one step; more than once is ambiguity. */
type Steps = Map<number, number>;

/** Glushkov's automaton: one position a character of the pattern, and none for the start. */
export interface PatternAutomaton {
  readonly sets: readonly CharSet[];
  readonly first: Steps;
  readonly follow: readonly Steps[];
}

interface Part {
  readonly nullable: boolean;
  readonly first: Steps;
  readonly last: readonly number[];
}

/** Analysis grows with its square; a pattern of the allowed length rarely has a fourth of it. */
const MAX_POSITIONS = 512;

export function automatonOf(root: PatternNode): PatternAutomaton {
  const builder = new Builder();
  const { first } = builder.add(root);
  return { sets: builder.sets, first, follow: builder.follow };
}

export function stepsOverlap(automaton: PatternAutomaton, a: number, b: number): boolean {
  return overlaps(automaton.sets[a] ?? [], automaton.sets[b] ?? []);
}

class Builder {
  readonly sets: CharSet[] = [];
  readonly follow: Steps[] = [];

  add(node: PatternNode): Part {
    switch (node.kind) {
      case 'char':
        return this.#position(node.set);
      case 'assertion':
        return EMPTY;
      case 'concat':
        return node.parts.reduce<Part>((left, part) => this.#join(left, this.add(part)), EMPTY);
      case 'choice':
        return this.#choose(node.options.map((option) => this.add(option)));
      case 'repeat':
        return this.#repeat(node);
    }
  }

  #position(set: CharSet): Part {
    if (this.sets.length === MAX_POSITIONS) throw new UnsupportedPattern('is too large');
    const position = this.sets.push(set) - 1;
    this.follow.push(new Map());
    return { nullable: false, first: new Map([[position, 1]]), last: [position] };
  }

  #join(left: Part, right: Part): Part {
    this.#connect(left.last, right.first);
    return {
      nullable: left.nullable && right.nullable,
      first: left.nullable ? merged(left.first, right.first) : left.first,
      last: right.nullable ? [...left.last, ...right.last] : right.last,
    };
  }

  #choose(options: readonly Part[]): Part {
    const nullable = options.filter((option) => option.nullable).length;
    if (nullable > 1) throw new UnsupportedPattern('has two ways to match nothing');
    return {
      nullable: nullable === 1,
      first: options.map((option) => option.first).reduce(merged),
      last: options.flatMap((option) => option.last),
    };
  }

  #repeat({ body, min, max }: PatternNode & { kind: 'repeat' }): Part {
    if (min === max) return this.#copies(body, min);
    const part = this.add(body);
    // A finite variable count is taken as unbounded, which errs on the safe side.
    if (max > 1) this.#connect(part.last, part.first);
    return { ...part, nullable: part.nullable || min === 0 };
  }

  #copies(body: PatternNode, count: number): Part {
    let part = EMPTY;
    for (let i = 0; i < count; i++) {
      // Without characters, copies would never run into the bound on positions.
      const before = this.sets.length;
      part = this.#join(part, this.add(body));
      if (this.sets.length === before) break;
    }
    return part;
  }

  #connect(from: readonly number[], to: Steps): void {
    for (const position of from) {
      const steps = this.follow[position] ?? new Map();
      for (const [next, ways] of to) steps.set(next, (steps.get(next) ?? 0) + ways);
    }
  }
}

const EMPTY: Part = { nullable: true, first: new Map(), last: [] };

function merged(a: Steps, b: Steps): Steps {
  return new Map([...a, ...b]);
}
