import { charSet, isIn } from '../char-set.ts';
import { type Matcher, type Swallow, undecided } from '../matcher.ts';

const BEGIN = '-----BEGIN ';
const END = '-----END ';
const MAX_LABEL_CHARS = 64;

/**
 * What may stand between the lines, also when line ends are escaped as in
 * JSON. Anything else says that the block was cut off and text goes on.
 */
const pemChars = charSet(/[A-Za-z0-9+/=\s\\:,-]/);

/** Blocks of PGP have free text in their headers, so only their length ends them. */
const MAX_PGP_CHARS = 65536;

/** A private key in PEM or OpenPGP armour, all lines of it. */
export const privateKey: Matcher = {
  name: 'private-key',
  starts: '-',
  match(text, at, final) {
    if (text.charAt(at - 1) === '-') return 'no';
    const begin = text.slice(at, at + BEGIN.length);
    if (begin !== BEGIN) {
      return at + begin.length >= text.length && BEGIN.startsWith(begin) ? undecided(final) : 'no';
    }
    const label = text.slice(at + BEGIN.length, at + BEGIN.length + MAX_LABEL_CHARS);
    const [, name, dashes] = /^([A-Z0-9 ]*)(-*)/.exec(label) ?? [];
    if (name === undefined || dashes === undefined) return 'no';
    const end = name.length + Math.min(dashes.length, 5);
    if (dashes.length < 5) {
      const open = end === label.length && label.length < MAX_LABEL_CHARS;
      return open ? undecided(final) : 'no';
    }
    if (!name.includes('PRIVATE KEY')) return 'no';
    const swallow = name.startsWith('PGP') ? pgpBlock() : pemBlock;
    return { keep: 0, end: at + BEGIN.length + end, swallow };
  },
};

const pemBlock: Swallow = (text, at, final) => {
  let end = at;
  while (end < text.length) {
    if (text.charAt(end) === '-') {
      const marker = endMarkerAt(text, end, final);
      if (marker === 'more') return { end, over: false };
      if (marker !== undefined) return { end: marker, over: true };
    }
    if (!isIn(pemChars, text, end)) return { end, over: true };
    end++;
  }
  return { end, over: false };
};

function pgpBlock(): Swallow {
  let left = MAX_PGP_CHARS;
  return (text, at, final) => {
    let end = at;
    for (; end < text.length && left > 0; end++, left--) {
      if (text.charAt(end) !== '-') continue;
      const marker = endMarkerAt(text, end, final);
      if (marker === 'more') return { end, over: false };
      if (marker !== undefined) return { end: marker, over: true };
    }
    return { end, over: left === 0 };
  };
}

/** Where the END line is over, if one begins here. */
function endMarkerAt(text: string, at: number, final: boolean): number | 'more' | undefined {
  const found = text.slice(at, at + END.length);
  if (found !== END) {
    const open = !final && at + found.length >= text.length && END.startsWith(found);
    return open ? 'more' : undefined;
  }
  const rest = text.slice(at + END.length, at + END.length + MAX_LABEL_CHARS);
  const label = /^[A-Z0-9 ]*-{0,5}/.exec(rest)?.[0] ?? '';
  const open = label.length === rest.length && rest.length < MAX_LABEL_CHARS;
  if (open && !label.endsWith('-----') && !final) return 'more';
  return at + END.length + label.length;
}
