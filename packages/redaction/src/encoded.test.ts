import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maskJson, maskText } from './index.ts';

const KEY = 'sk-ant-0123456789abcdef0123456789';
const LINE = 'user: app\napi_key=0123456789abcdef\n';
const MASK = '[masked:anthropic-key]';

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function wideLetters(text: string): string {
  return text.replace(/[!-~]/g, (char) => String.fromCharCode(char.charCodeAt(0) + 0xfee0));
}

const HIDDEN: readonly [what: string, text: string, shown: string][] = [
  ['split by a space without width', 'x sk-ant-01234\u200b56789abcdef0123456789 y', `x ${MASK} y`],
  ['split by joiners and tags', [...KEY].join('\u200d\u{e0041}'), MASK],
  ['under a name that is split', 'pass\u00adword=hunter2 x', 'pass\u00adword=[masked:secret] x'],
  ['in full-width forms', `（${wideLetters(KEY)}）`, `（${MASK}）`],
  [
    'behind a full-width colon',
    'ＡＰＩ＿ＫＥＹ：hunter2022 x',
    'ＡＰＩ＿ＫＥＹ：[masked:secret] x',
  ],
  ['that a full-width quote does not end', 'password=hunter＂22 x', 'password=[masked:secret] x'],
  ['in full-width forms and escapes', 'ｓｋ-ant-%30123456789abcdef0123456789 x', `${MASK} x`],
  ['in mathematical letters', KEY.replace('sk', '𝓼𝔨'), MASK],
  ['in percent escapes', `?q=%73k-ant%2D0123456789abcdef0123456789&x`, `?q=${MASK}&x`],
  [
    'in an escaped URL',
    'to=postgres%3A%2F%2Fapp%3As3cr%2540et%40db%2Fx',
    'to=postgres%3A%2F%2Fapp%3A[masked:url-password]%40db%2Fx',
  ],
  [
    'in escaped JSON',
    '%7B%22token%22%3A%22abc%20def%22%7D',
    '%7B%22token%22%3A%22[masked:secret]%22%7D',
  ],
  ['in escapes of JSON', '"\\u0073k-ant-\\\\u0030123456789abcdef0123456789"', `"${MASK}"`],
  ['split by an escape of JSON', '"sk-ant-0123\\u200b456789abcdef0123456789"', `"${MASK}"`],
  ['in escapes of a shell', "$'\\x73\\x6b-ant-0123456789abcdef0123456789'", `$'${MASK}'`],
  [
    'right behind another one',
    'AKIAIOSFODNN7EXAMPLE%2D----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- x',
    '[masked:aws-key][masked:private-key] x',
  ],
  ['in base64', `key: ${base64(KEY)}.`, `key: ${MASK}.`],
  ['in a file in base64', base64(LINE), '[masked:secret]'],
  ['in base64 for URLs', Buffer.from(`${KEY}ÿþ?>`).toString('base64url'), MASK],
  ['in base64 behind other digits', `data/k8s/${base64(KEY)}`, MASK],
  ['in base64 of UTF-16', Buffer.from(`echo ${KEY}`, 'utf16le').toString('base64'), MASK],
  ['in hexadecimal', `0x${Buffer.from(KEY).toString('hex').toUpperCase()};`, `0x${MASK};`],
];

for (const [what, text, shown] of HIDDEN) {
  test(`[RED-01] masks a secret ${what}`, () => {
    assert.equal(maskText(text).text, shown);
  });
}

test('[RED-01] masks a secret across the lines of base64, and only that text', () => {
  const lines = base64(`${'x'.repeat(100)}\n${KEY}\n${'y'.repeat(100)}`).match(/.{1,76}/g) ?? [];
  for (const lineEnd of ['\n', '\r\n']) {
    const text = `a word${lineEnd}${lines.join(lineEnd)}${lineEnd}${lineEnd}the end`;
    assert.equal(maskText(text).text, `a word${lineEnd}${MASK}${lineEnd}${lineEnd}the end`);
  }
});

test('an encoded text without secrets stays, and so do hashes, identifiers and paths', () => {
  const plain = [
    base64('nothing to see here, and certainly no key'),
    Buffer.from(Array.from({ length: 5000 }, (_, n) => (n * 131) & 255)).toString('base64'),
    'sha256:9d1bfe993728d0945024c1071308cff56dd89d1bfe993728d0945024c1071308',
    base64('mail ada@example.com or call 4111111111111111'),
    'services/model-host/src/adapters/mock-provider/default-script.yaml',
    '100%25 of %20 and \\u00e9 \\x41',
  ];
  for (const text of plain) assert.deepEqual(maskText(text), { text, found: [] });
});

test('[RED-01] what either reading finds is masked once, whole', () => {
  const told: string[] = [];
  const text = 'password=abc%20def123 next';
  const masked = maskText(text, { onMasked: (name) => told.push(name) });
  assert.equal(masked.text, 'password=[masked:secret] next');
  assert.deepEqual(told, ['secret']);
});

test('[RED-01] a name with hidden characters is a secret name', () => {
  assert.deepEqual(maskJson({ 'pass\u200bword': 'plain words' }), {
    'pass\u200bword': '[masked:secret]',
  });
});

const ENCODINGS: Readonly<Record<string, (text: string) => string>> = {
  base64,
  hex: (text) => Buffer.from(text).toString('hex'),
  percent: (text) => text.replace(/[^.]/g, (char) => `%${char.charCodeAt(0).toString(16)}`),
  unicode: (text) => text.replace(/./g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`),
  wide: wideLetters,
  split: (text) => [...text].join('\u2060'),
};

test('[RED-01] no encoding of a secret is seen, wherever it stands', () => {
  const alphanumeric = fc.constantFrom(...'abcxyzABCXYZ0189');
  const secret = fc.string({ unit: alphanumeric, minLength: 36, maxLength: 40 });
  const around = fc.constantFrom('', ' ', 'a ', '"', '(', 'see: ', '\n', '../');
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(ENCODINGS)), secret, around, (how, key, before) => {
      const encoded = ENCODINGS[how]?.(`ghp_${key}`) ?? '';
      const { text } = maskText(`${before}${encoded} and on`);
      assert.ok(!text.includes(encoded.slice(8)), text);
      assert.match(text, / and on$/);
    }),
    { numRuns: 1000 },
  );
});

test('[RED-01] masks a secret within and beside megabytes of digits', () => {
  for (const [encoding, length] of [
    ['base64', 9_000_000],
    ['hex', 6_000_000],
  ] as const) {
    const bytes = Buffer.concat([Buffer.alloc(length, 0xa5), Buffer.from(`\n${KEY}\n`)]);
    assert.equal(maskText(`${bytes.toString(encoding)} ${KEY}.`).text, `${MASK} ${MASK}.`);
  }
});
