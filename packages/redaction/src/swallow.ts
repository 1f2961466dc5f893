import { type CharSet, isIn, type Swallow } from './matcher.ts';

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

/** Longer runs of backslashes are taken as part of the secret. */
const MAX_BACKSLASHES = 8;

/**
 * Swallows up to the closing quote, which stays, or the end of the line. A
 * quote that was opened behind backslashes (JSON inside JSON) is closed behind
 * as many.
 */
export function swallowQuoted(quote: string, slashes: number): Swallow {
  return (text, at, final) => {
    let end = at;
    while (end < text.length) {
      const char = text.charAt(end);
      if (char === '\n' || char === quote) return { end, over: true };
      if (char !== '\\') {
        end++;
        continue;
      }
      let run = end;
      while (run - end < MAX_BACKSLASHES && text.charAt(run) === '\\') run++;
      if (run >= text.length && run - end < MAX_BACKSLASHES && !final) return { end, over: false };
      if (text.charAt(run) === quote) {
        const closes = slashes === 0 ? (run - end) % 2 === 0 : run - end <= slashes;
        if (closes) return { end: slashes === 0 ? run : end, over: true };
        run++;
      }
      end = run;
    }
    return { end, over: false };
  };
}
