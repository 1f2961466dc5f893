import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maskJson, maskText } from './index.ts';

const MASKS: readonly [string, string][] = [
  ['password=hunter2 next', 'password=[masked:secret] next'],
  ['PASSWORD=correcthorse', 'PASSWORD=[masked:secret]'],
  ['password: hunter2!', 'password: [masked:secret]!'],
  ['{"password": "correct horse"}', '{"password": "[masked:secret]"}'],
  ['{"api_key":"a\\"b\\"cdef"}', '{"api_key":"[masked:secret]"}'],
  ['{\\"token\\":\\"abcdef\\"}', '{\\"token\\":\\"[masked:secret]\\"}'],
  ['password=p\u00e4ssw\u00f6rd1 x', 'password=[masked:secret] x'],
  ['password: p\u00e4ssw\u00f6rd1.', 'password: [masked:secret].'],
  ['"password": "$ecret[1]"', '"password": "[masked:secret]"'],
  ['password=*hunter2 token=$ecret12', 'password=[masked:secret] token=[masked:secret]'],
  ["clientSecret: 'open sesame',", "clientSecret: '[masked:secret]',"],
  ['url?access_token=abcdefgh&x=1', 'url?access_token=[masked:secret]&x=1'],
  ['aws_secret_access_key = wJalrXUtnFEMI/K7MDENG', 'aws_secret_access_key = [masked:secret]'],
  ['Authorization: Bearer abcdef123456.', 'Authorization: Bearer [masked:authorization].'],
  ['authorization: basic dXNlcjpwYXNzMQ==', 'authorization: basic [masked:authorization]'],
  ['postgres://app:s3cret@db/x', 'postgres://app:[masked:url-password]@db/x'],
  ['redis://:s3cret@db:6379', 'redis://:[masked:url-password]@db:6379'],
  ['write to a.b+c@mail.example.com.', 'write to [masked:email].'],
  ['4111111111111111', '[masked:card]'],
  ['4000000000000000006', '[masked:card]'],
  ['card 4111 1111 1111 1111 12/27 123', 'card [masked:card] 12/27 123'],
  ['Amex 3782-822463-10005,', 'Amex [masked:card],'],
  [
    'https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX',
    'https://hooks.slack.com/services/[masked:slack-token]',
  ],
  [
    'x\n-----BEGIN OPENSSH PRIVATE KEY-----\\nb3Blbn\\n-----END OPENSSH PRIVATE KEY-----\\n"',
    'x\n[masked:private-key]\\n"',
  ],
  [
    '-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG (x)\n\nlQ\n-----END PGP PRIVATE KEY BLOCK-----.',
    '[masked:private-key].',
  ],
];

for (const [text, expected] of MASKS) {
  test(`[RED-01] masks ${JSON.stringify(text)}`, () => {
    assert.equal(maskText(text).text, expected);
  });
}

const PLAIN = [
  'The password: remember it well.',
  'the token is in the file',
  'const token = getToken();',
  'connect(user=user, password=password)',
  'password=None, token=null',
  'password=$PASSWORD and password: <yours>',
  '"password": "{{ .Values.password }}", "token": "[masked:secret]"',
  'PWD=/srv/data/main2 OLDPWD=/root/x1',
  'page_token=abcdefgh12345 next_page_token: abc12345',
  'a bearer of good news, basic understanding',
  'https://example.com:8080/a@b?x=y:z@q',
  'eyJhbGciOiJub25lIn0.payload is too short for a token',
  'eyJhIjoxfQ is base64 of JSON, as is eyJwYXlsb2FkVHlwZSI6ImFwcGxpY2F0aW9uL2pzb24ifQ==',
  '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
  '-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----',
  'task-sk-ill the sk-8 road; AKIAshort; ghp_short',
  '1732163213123 1732163213123456 0.4111111111111111 3f4111111111111111',
  'order 4111 1111 1111 1112',
  'a@b, @home, x@localhost',
  'trace 4bf92f3577b34da6a3ce929d0e0e4736 sha256:9d1bfe993728d0945024c1071308cff56dd8',
  '2026-11-21T04:44:22.801Z 10:30 C:\\Users\\x key: value',
  '',
];

for (const text of PLAIN) {
  test(`leaves ${JSON.stringify(text)} as it is`, () => {
    assert.deepEqual(maskText(text), { text, found: [] });
  });
}

test('only the detectors asked for are used', () => {
  const text = 'mail a@example.com password=hunter2';
  assert.equal(
    maskText(text, { detectors: ['secret'] }).text,
    'mail a@example.com password=[masked:secret]',
  );
  assert.deepEqual(maskText(text).found, ['email', 'secret']);
});

test('the time to mask grows with the text, not with its square', () => {
  const hostile = [
    'eyJ',
    'eyJ-',
    'a',
    '-',
    'password:',
    'sk-',
    'a.',
    '4',
    '://a',
    '\\',
    '-----BEGIN ',
    '\u200b',
    '\u200ba',
    '%41',
    '\\u0041',
    'c2st',
    'deadbeef',
    'c2stYW50LTAxMjM0NTY3\n',
    `${'c2stYW50LTA='.repeat(3)} `,
    `${'QUtJQQ'.repeat(170)} `,
  ];
  const plainMs = Math.max(0.5, fastestMs('plain text '.repeat(160_000 / 11)));
  for (const piece of hostile) {
    const small = fastestMs(piece.repeat(20_000 / piece.length));
    const large = fastestMs(piece.repeat(160_000 / piece.length));
    // 8 times the text: 64 times the time if it were quadratic.
    assert.ok(large < Math.max(small, 0.5) * 30, `"${piece}": ${small} ms, then ${large} ms`);
    // What a start looks ahead for nothing, many starts must not look ahead each.
    assert.ok(large < plainMs * 100, `"${piece}": ${large} ms, plain text ${plainMs} ms`);
  }
});

/** CPU time, which a busy machine does not change. */
function fastestMs(text: string): number {
  const runs = [0, 1, 2, 3, 4].map(() => {
    const before = process.cpuUsage();
    maskText(text);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  });
  return Math.min(...runs);
}

test('each replaced secret is reported once, by its detector, in texts and in JSON', () => {
  const told: string[] = [];
  const onMasked = (detector: string) => void told.push(detector);
  maskText('a@example.com and b@example.com, password=hunter2', { onMasked });
  assert.deepEqual(told.splice(0), ['email', 'email', 'secret']);
  maskJson({ 'a@example.com': ['b@example.com', { password: 'x', api_key: 1 }] }, { onMasked });
  assert.deepEqual(told.splice(0), ['email', 'email', 'secret', 'secret']);
  maskJson({ note: 'nothing here', password: '' }, { onMasked });
  assert.deepEqual(told, []);
});
