import { components } from './components.ts';
import { automatonOf, type PatternAutomaton, stepsOverlap } from './pattern-automaton.ts';
import { type PatternNode, parsePattern, UnsupportedPattern } from './pattern-syntax.ts';

export type PatternVerdict =
  /** Texts longer than this are not tried, because trying them could cost too much. */
  | { readonly maxTextChars: number; readonly error?: undefined }
  | { readonly maxTextChars?: undefined; readonly error: string };

export const MAX_PATTERN_CHARS = 512;

/** Steps of a backtracking engine for one match: tens of milliseconds at the very worst. */
const MAX_STEPS = 2 ** 24;

/** A pattern that cannot even be tried on this much text is of no use. */
const MIN_TEXT_CHARS = 256;

const REFUSED = 'can take exponential time (a repetition that can match the same text in two ways)';

/**
 * Bounds what a regular expression can cost a backtracking engine on the worst
 * text. Inside a loop every next character must decide the way; outside, the
 * number of ways is counted.
 */
export function patternCost(source: string): PatternVerdict {
  if (source.length > MAX_PATTERN_CHARS) {
    return { error: `is longer than ${MAX_PATTERN_CHARS} characters` };
  }
  try {
    new RegExp(source, 'u');
    return costOf(parsePattern(source));
  } catch (reason) {
    if (reason instanceof UnsupportedPattern) return { error: reason.message };
    if (reason instanceof SyntaxError) return { error: 'is not a regular expression' };
    throw reason;
  }
}

function costOf(root: PatternNode): PatternVerdict {
  const automaton = automatonOf(root);
  const loops = components(automaton.sets.length, (node) => automaton.follow[node]?.keys() ?? []);
  const ways = new Ways(automaton, loops);
  if (ways.ambiguousLoop) return { error: REFUSED };
  const starts = isAnchored(root);
  for (let chars = MAX_STEPS; chars >= MIN_TEXT_CHARS; chars /= 2) {
    const longestRun = ways.hasLoop ? chars : Math.max(1, automaton.sets.length);
    const steps = ways.count(chars) * longestRun * (starts ? 1 : chars);
    if (steps <= MAX_STEPS) return { maxTextChars: chars };
  }
  return { error: 'can take too long on a long text; start it with ^ and repeat less' };
}

class Ways {
  readonly ambiguousLoop: boolean;
  readonly hasLoop: boolean;
  readonly #automaton: PatternAutomaton;
  readonly #loops: readonly (readonly number[])[];
  readonly #loopOf = new Map<number, number>();

  constructor(automaton: PatternAutomaton, loops: readonly (readonly number[])[]) {
    this.#automaton = automaton;
    this.#loops = loops;
    loops.forEach((members, loop) => {
      for (const member of members) this.#loopOf.set(member, loop);
    });
    this.hasLoop = loops.some((members) => members.some((p) => this.#inside(p).length > 0));
    this.ambiguousLoop = automaton.follow.some((_, p) => this.#isAmbiguous(p));
  }

  /** At most so many different ways through the pattern for one text of so many characters. */
  count(chars: number): number {
    const known: number[] = [];
    const waysFrom = (next: number) => known[this.#loopOf.get(next) ?? -1] ?? 1;
    for (const members of this.#loops) {
      let leaving = 1;
      let leavingAnyTime = 0;
      for (const p of members) {
        const inside = this.#inside(p);
        const exits = [...(this.#automaton.follow[p] ?? [])].filter(([q]) => !this.#same(p, q));
        const [early, late] = this.#split(exits, inside);
        leaving = Math.max(leaving, this.#worst(late, waysFrom));
        leavingAnyTime = Math.max(leavingAnyTime, this.#worst(early, waysFrom));
      }
      known.push(leaving + leavingAnyTime * chars);
    }
    return Math.max(1, this.#worst([...this.#automaton.first], waysFrom));
  }

  /** Exits that a text can take at any step while the loop goes on, and those that end it. */
  #split(exits: readonly [number, number][], inside: readonly number[]) {
    const early: [number, number][] = [];
    const late: [number, number][] = [];
    for (const exit of exits) {
      const stays = inside.some((q) => stepsOverlap(this.#automaton, exit[0], q));
      (stays ? early : late).push(exit);
    }
    return [early, late] as const;
  }

  #worst(steps: readonly [number, number][], waysFrom: (next: number) => number): number {
    let worst = 0;
    for (const [p] of steps) {
      let together = 0;
      for (const [q, ways] of steps) {
        if (p === q || stepsOverlap(this.#automaton, p, q)) together += ways * waysFrom(q);
      }
      worst = Math.max(worst, together);
    }
    return worst;
  }

  #isAmbiguous(p: number): boolean {
    const inside = this.#inside(p);
    const twice = inside.some((q) => (this.#automaton.follow[p]?.get(q) ?? 0) > 1);
    const overlap = inside.some((q, i) =>
      inside.slice(i + 1).some((r) => stepsOverlap(this.#automaton, q, r)),
    );
    return twice || overlap;
  }

  #inside(p: number): number[] {
    return [...(this.#automaton.follow[p]?.keys() ?? [])].filter((q) => this.#same(p, q));
  }

  #same(p: number, q: number): boolean {
    return this.#loopOf.get(p) === this.#loopOf.get(q);
  }
}

function isAnchored(node: PatternNode): boolean {
  switch (node.kind) {
    case 'assertion':
      return node.start;
    case 'concat':
      return node.parts[0] !== undefined && isAnchored(node.parts[0]);
    case 'choice':
      return node.options.every(isAnchored);
    default:
      return false;
  }
}
