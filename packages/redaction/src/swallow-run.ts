import { type CharSet, isIn } from './char-set.ts';
import type { Swallow } from './matcher.ts';

/** A run of joiners longer than this is part of the secret. */
const MAX_JOINERS = 8;

/**
 * Swallows characters of body, and joiners where body follows them: the dots
 * of a token, but not the full stop after it.
 */
export function swallowRun(body: CharSet, joiners?: CharSet): Swallow {
  return (text, at, final) => {
    let end = at;
    for (;;) {
      while (isIn(body, text, end)) end++;
      if (joiners === undefined) return { end, over: end < text.length };
      let next = end;
      while (next - end < MAX_JOINERS && isIn(joiners, text, next)) next++;
      if (next === end || (next < text.length && next - end < MAX_JOINERS)) {
        if (next === end || !isIn(body, text, next)) return { end, over: end < text.length };
      } else if (next - end < MAX_JOINERS) {
        return { end, over: final };
      }
      end = next;
    }
  };
}
