import { base64Url, type CharSet, charSet, isIn, wordChars } from '../char-set.ts';
import type { DetectorName } from '../detectors.ts';
import { type Matcher, undecided } from '../matcher.ts';
import { swallowRun } from '../swallow-run.ts';

interface Shape {
  readonly name: DetectorName;
  readonly prefix: string;
  readonly body: CharSet;
  /** From here on it is a key for certain. */
  readonly minBodyChars: number;
  readonly showPrefix?: boolean;
}

const alphanumeric = charSet(/[A-Za-z0-9]/);
const upper = charSet(/[A-Z0-9]/);

/** Longer prefixes before shorter ones that begin the same. */
const shapes: readonly Shape[] = [
  { name: 'anthropic-key', prefix: 'sk-ant-', body: base64Url, minBodyChars: 16 },
  { name: 'openai-key', prefix: 'sk-', body: base64Url, minBodyChars: 20 },
  { name: 'aws-key', prefix: 'AKIA', body: upper, minBodyChars: 16 },
  { name: 'aws-key', prefix: 'ASIA', body: upper, minBodyChars: 16 },
  { name: 'google-key', prefix: 'AIza', body: base64Url, minBodyChars: 30 },
  { name: 'google-key', prefix: 'ya29.', body: base64Url, minBodyChars: 20 },
  { name: 'google-key', prefix: 'GOCSPX-', body: base64Url, minBodyChars: 20 },
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map(githubToken),
  { name: 'github-token', prefix: 'github_pat_', body: wordChars, minBodyChars: 22 },
  { name: 'gitlab-token', prefix: 'glpat-', body: base64Url, minBodyChars: 20 },
  ...['xoxa-', 'xoxb-', 'xoxe-', 'xoxo-', 'xoxp-', 'xoxr-', 'xoxs-', 'xapp-'].map(slackToken),
  {
    name: 'slack-token',
    prefix: 'hooks.slack.com/services/',
    body: charSet(/[A-Za-z0-9/]/),
    minBodyChars: 20,
    showPrefix: true,
  },
  ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'whsec_'].map(stripeKey),
  { name: 'huggingface-token', prefix: 'hf_', body: alphanumeric, minBodyChars: 30 },
  { name: 'npm-token', prefix: 'npm_', body: alphanumeric, minBodyChars: 30 },
];

function githubToken(prefix: string): Shape {
  return { name: 'github-token', prefix, body: alphanumeric, minBodyChars: 30 };
}

function slackToken(prefix: string): Shape {
  return { name: 'slack-token', prefix, body: base64Url, minBodyChars: 16 };
}

function stripeKey(prefix: string): Shape {
  return { name: 'stripe-key', prefix, body: alphanumeric, minBodyChars: 16 };
}

export const prefixedKeys: readonly Matcher[] = shapes.map(matcherOf);

function matcherOf({ name, prefix, body, minBodyChars, showPrefix = false }: Shape): Matcher {
  const swallow = swallowRun(body);
  const certainAfter = prefix.length + minBodyChars;
  return {
    name,
    starts: prefix.charAt(0),
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
