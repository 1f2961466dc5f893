import {
  BASE64_URL,
  type CharSet,
  charSet,
  type DetectorName,
  isIn,
  type Matcher,
  type Swallow,
  undecided,
  WORD_CHARS,
} from '../matcher.ts';
import { swallowRun } from '../swallow.ts';

interface Shape {
  readonly name: DetectorName;
  readonly prefix: string;
  readonly body: CharSet;
  /** From here on it is a key for certain. */
  readonly minBodyChars: number;
  readonly showPrefix?: boolean;
}

const ALPHANUMERIC = charSet(/[A-Za-z0-9]/);
const UPPER_ALPHANUMERIC = charSet(/[A-Z0-9]/);

/** Longer prefixes before shorter ones that begin the same. */
const SHAPES: readonly Shape[] = [
  { name: 'anthropic-key', prefix: 'sk-ant-', body: BASE64_URL, minBodyChars: 16 },
  { name: 'openai-key', prefix: 'sk-', body: BASE64_URL, minBodyChars: 20 },
  { name: 'aws-key', prefix: 'AKIA', body: UPPER_ALPHANUMERIC, minBodyChars: 16 },
  { name: 'aws-key', prefix: 'ASIA', body: UPPER_ALPHANUMERIC, minBodyChars: 16 },
  { name: 'google-key', prefix: 'AIza', body: BASE64_URL, minBodyChars: 30 },
  { name: 'google-key', prefix: 'ya29.', body: BASE64_URL, minBodyChars: 20 },
  { name: 'google-key', prefix: 'GOCSPX-', body: BASE64_URL, minBodyChars: 20 },
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map(githubToken),
  { name: 'github-token', prefix: 'github_pat_', body: WORD_CHARS, minBodyChars: 22 },
  { name: 'gitlab-token', prefix: 'glpat-', body: BASE64_URL, minBodyChars: 20 },
  ...['xoxa-', 'xoxb-', 'xoxe-', 'xoxo-', 'xoxp-', 'xoxr-', 'xoxs-', 'xapp-'].map(slackToken),
  {
    name: 'slack-token',
    prefix: 'hooks.slack.com/services/',
    body: charSet(/[A-Za-z0-9/]/),
    minBodyChars: 20,
    showPrefix: true,
  },
  ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'whsec_'].map(stripeKey),
  { name: 'huggingface-token', prefix: 'hf_', body: ALPHANUMERIC, minBodyChars: 30 },
  { name: 'npm-token', prefix: 'npm_', body: ALPHANUMERIC, minBodyChars: 30 },
];

function githubToken(prefix: string): Shape {
  return { name: 'github-token', prefix, body: ALPHANUMERIC, minBodyChars: 30 };
}

function slackToken(prefix: string): Shape {
  return { name: 'slack-token', prefix, body: BASE64_URL, minBodyChars: 16 };
}

function stripeKey(prefix: string): Shape {
  return { name: 'stripe-key', prefix, body: ALPHANUMERIC, minBodyChars: 16 };
}

export const PREFIXED_KEYS: readonly Matcher[] = SHAPES.map(matcherOf);

function matcherOf({ name, prefix, body, minBodyChars, showPrefix = false }: Shape): Matcher {
  const swallow = swallowRun(body);
  const certainAfter = prefix.length + minBodyChars;
  return {
    name,
    starts: prefix.charAt(0),
    begins: prefix.replaceAll('.', '[.]'),
    match(text, at, final) {
      for (let index = 0; index < certainAfter; index++) {
        if (at + index >= text.length) return undecided(final);
        const fits =
          index < prefix.length
            ? text.charCodeAt(at + index) === prefix.charCodeAt(index)
            : isIn(body, text, at + index);
        if (!fits) return 'no';
      }
      return { keep: showPrefix ? prefix.length : 0, end: at + certainAfter, swallow };
    },
  };
}

const BEGIN = '-----BEGIN ';
const END = '-----END ';
const MAX_LABEL_CHARS = 64;

/**
 * What may stand between the lines, also when line ends are escaped as in
 * JSON. Anything else says that the block was cut off and text goes on.
 */
const PEM_CHARS = charSet(/[A-Za-z0-9+/=\s\\:,-]/);

/** Blocks of PGP have free text in their headers, so only their length ends them. */
const MAX_PGP_CHARS = 65536;

/** A private key in PEM or OpenPGP armour, all lines of it. */
export const PRIVATE_KEY: Matcher = {
  name: 'private-key',
  starts: '-',
  begins: BEGIN,
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
    if (!isIn(PEM_CHARS, text, end)) return { end, over: true };
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
