import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ALL_DETECTORS, maskText, STREAM_DETECTORS, StreamMasker } from './index.ts';
import { ESCAPE } from './view.ts';

const ALPHANUMERICS = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'];
const UPPER = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'];
const words =
  'the quick brown fox said: hello, world. (see below) it is 42% "sure" is-it a_b x/y'.split(' ');

function chars(alphabet: readonly string[], minLength: number, maxLength = minLength) {
  return fc.string({ unit: fc.constantFrom(...alphabet), minLength, maxLength });
}

/** How a secret stands in a text, and the part of it that must not be seen. */
const planted = fc.oneof(
  chars(ALPHANUMERICS, 24, 80).map((key) => ({ text: `sk-ant-${key}`, secret: key })),
  chars(ALPHANUMERICS, 24, 80).map((key) => ({ text: `sk-proj-${key}`, secret: key })),
  chars(UPPER, 16).map((key) => ({ text: `AKIA${key}`, secret: key })),
  chars(ALPHANUMERICS, 36).map((key) => ({ text: `ghp_${key}`, secret: key })),
  chars(ALPHANUMERICS, 35).map((key) => ({ text: `AIza${key}`, secret: key })),
  chars(ALPHANUMERICS, 24).map((key) => ({ text: `xoxb-${key}`, secret: key })),
  chars(ALPHANUMERICS, 24).map((key) => ({ text: `sk_live_${key}`, secret: key })),
  fc
    .tuple(chars(ALPHANUMERICS, 20, 60), chars(ALPHANUMERICS, 20, 300), chars(ALPHANUMERICS, 43))
    .map(([head, body, sign]) => ({ text: `eyJ${head}.${body}.${sign}`, secret: sign })),
  chars(ALPHANUMERICS, 24, 200).map((key) => ({ text: `Bearer ${key}`, secret: key })),
  chars(ALPHANUMERICS, 12, 30).map((key) => ({ text: `DB_PASSWORD=x9${key}`, secret: key })),
  chars(ALPHANUMERICS, 12, 30).map((key) => ({ text: `"api_key": "${key}"`, secret: key })),
  chars(ALPHANUMERICS, 12, 30).map((key) => ({
    text: `{\\"clientSecret\\":\\"${key}\\"}`,
    secret: key,
  })),
  chars(ALPHANUMERICS, 12, 30).map((key) => ({
    text: `redis://app:${key}@db:6379/0`,
    secret: key,
  })),
  fc.array(chars(ALPHANUMERICS, 64), { minLength: 1, maxLength: 30 }).map((lines) => ({
    text: `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----`,
    secret: lines.at(-1) ?? '',
  })),
  fc.constantFrom('4111 1111 1111 1111', '5555-5555-5555-4444', '378282246310005').map((card) => ({
    text: card,
    secret: card.slice(4),
  })),
);

const prose = fc.array(fc.constantFrom(...words), { maxLength: 12 }).map((list) => list.join(' '));

const document = fc.array(fc.tuple(prose, planted), { minLength: 1, maxLength: 4 }).chain((parts) =>
  prose.map((tail) => ({
    text: `${parts.map(([before, { text }]) => `${before} ${text} `).join('')}${tail}`,
    secrets: parts.map(([, { secret }]) => secret),
  })),
);

/** Pieces that detectors look for, whole and broken, so that all their edges are met. */
const fragments = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...[
          '-----BEGIN ',
          'PRIVATE KEY',
          '-----',
          '-----END ',
          'PGP PRIVATE KEY BLOCK',
          '\n',
          '--',
        ],
        ...[
          'eyJ',
          '.',
          'Bearer ',
          'basic',
          ' ',
          '  ',
          'sk-',
          'sk-ant-',
          'AKIA',
          'ghp_',
          'xox',
          'b-',
        ],
        ...[
          'password',
          'token',
          'api_key',
          'page_token',
          '=',
          ':',
          '://',
          '@',
          '"',
          "'",
          '\\',
          ',',
        ],
        ...[
          '[masked:',
          '${',
          '/',
          '4111',
          '1111',
          '-',
          '5',
          'a@b.co',
          'é',
          '\u{1F600}',
          'none',
          ')',
        ],
        ...['\u200b', '\u200d\u00ad', '\u{e0041}', 'ｓｋ－', '：', '\u{1d4fc}', '\u{1d4fc}k-ant-'],
      ),
      chars(ALPHANUMERICS, 1, 30),
      fc.string({ maxLength: 5 }),
    ),
    { maxLength: 40, size: 'max' },
  )
  .map((list) => list.join(''));

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 50 });

function inChunks(text: string, sizes: readonly number[], detectors = STREAM_DETECTORS) {
  const masker = new StreamMasker(detectors);
  let out = '';
  let at = 0;
  for (let turn = 0; at < text.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    out += masker.push(text.slice(at, at + size));
    at += size;
  }
  return out + masker.end();
}

test('[RED-01] a stream cut anywhere is masked like the whole text', () => {
  fc.assert(
    fc.property(document, cuts, ({ text }, sizes) => {
      assert.equal(inChunks(text, sizes, ALL_DETECTORS), maskText(text).text);
      assert.equal(inChunks(text, sizes), maskText(text, { detectors: STREAM_DETECTORS }).text);
    }),
    { numRuns: 500 },
  );
});

test('[RED-01] a text made of broken secrets is masked the same however it is cut', () => {
  fc.assert(
    fc.property(
      fragments,
      cuts,
      fc.constantFrom(ALL_DETECTORS, STREAM_DETECTORS),
      (text, sizes, detectors) => {
        const whole = inChunks(text, [Math.max(1, text.length)], detectors);
        // A stream does not wait for what an escape makes of a secret.
        if (!ESCAPE.test(text)) assert.equal(whole, maskText(text, { detectors }).text);
        assert.equal(inChunks(text, sizes, detectors), whole);
        assert.equal(inChunks(text, [1], detectors), whole);
      },
    ),
    { numRuns: 3000 },
  );
});

test('[RED-01] no planted secret is seen in any output', () => {
  fc.assert(
    fc.property(document, cuts, ({ text, secrets }, sizes) => {
      const out = inChunks(text, sizes);
      for (const secret of secrets) assert.ok(!out.includes(secret), out);
    }),
    { numRuns: 500 },
  );
});

test('masked text is not masked again', () => {
  fc.assert(
    fc.property(document, ({ text }) => {
      const once = maskText(text).text;
      assert.equal(maskText(once).text, once);
    }),
  );
});

test('ordinary prose passes unchanged, and only its last word may wait', () => {
  const text =
    'Bread keeps best in a bag; bare shelves dry it. Slow proving, say 12 hours, gives taste. ' +
    'The basic rule: keep everything cool - even yeast. Ask the baker, not example.com.';
  for (const detectors of [ALL_DETECTORS, STREAM_DETECTORS]) {
    const masker = new StreamMasker(detectors);
    let out = '';
    for (const char of text) {
      out += masker.push(char);
      const word = /[^\s]*\s*$/.exec(text.slice(0, out.length + masker.heldChars))?.[0] ?? '';
      // A scheme word waits for the word behind it, which may be a credential.
      const allowed = /\bbasic [^ ]* ?$/.test(text.slice(0, out.length + masker.heldChars))
        ? 32
        : 0;
      assert.ok(masker.heldChars <= word.length + allowed, `"${word}" waits`);
    }
    assert.equal(out + masker.end(), text);
  }
});

test('words that cannot begin a secret are released at once', () => {
  const masker = new StreamMasker();
  for (const token of ['Hello', ' there', ', the', ' file', ' reads', ':', ' welcome', '!', '\n']) {
    assert.equal(masker.push(token), token);
  }
});

test('a secret is replaced as soon as it is certain, and the rest of it dropped', () => {
  const masker = new StreamMasker();
  assert.equal(masker.push('see sk-ant-'), 'see ');
  assert.equal(masker.push('0123456789abcdef'), '[masked:anthropic-key]');
  assert.equal(masker.push('0123456789'.repeat(1000)), '');
  assert.ok(masker.heldChars === 0);
  assert.equal(masker.push(' and on'), ' and on');
  assert.deepEqual(masker.found, ['anthropic-key']);
});

test('the held-back text is bounded, whatever the input', () => {
  fc.assert(
    fc.property(fragments, fc.nat(200), (text, repeats) => {
      const masker = new StreamMasker(ALL_DETECTORS);
      for (let turn = 0; turn <= repeats; turn++) masker.push(text);
      assert.ok(masker.heldChars <= 5000, `${masker.heldChars} wait`);
    }),
    { numRuns: 200 },
  );
});

test('a private key that is cut off loses no prose behind it', () => {
  const out = inChunks('-----BEGIN PRIVATE KEY-----\nMIIEvQ (cut). Then more text.', [7]);
  assert.match(out, /^\[masked:private-key\].*Then more text\.$/);
});

test('a masker can be reused after its end', () => {
  const masker = new StreamMasker();
  assert.equal(masker.push('sk-ant-') + masker.end(), 'sk-ant-');
  assert.equal(masker.push('0123456789abcdef0123') + masker.end(), '0123456789abcdef0123');
  const key = 'sk-ant-0123456789abcdef';
  assert.equal(masker.push(key) + masker.end(), '[masked:anthropic-key]');
  assert.equal(masker.push('0123 and on') + masker.end(), '0123 and on');
});
