import type { Swallow } from './matcher.ts';

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
