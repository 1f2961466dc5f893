import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { settle } from './settle.ts';

const RULES = { tool: 'fs.read', schema: undefined, onMasked() {}, isCancelled: false };

function shown(resultText: string): string {
  const times = { remoteUs: 0, deviceUs: 0, serverUs: 0 };
  const result = JSON.parse(resultText);
  return settle({ outcome: 'done', wasSent: true, ...times, result, resultText }, RULES).resultJson;
}

test('shows a result without secrets as it arrived', () => {
  // Any characters at all would make an email address now and then.
  const stringUnit = fc.constantFrom(...'ab":,\\ {}[]\n\u00e9\u{1f600}');
  const json = fc.json({ stringUnit }).filter((text) => /^[[{]/.test(text));
  fc.assert(
    fc.property(json, (text) => assert.deepEqual(JSON.parse(shown(text)), JSON.parse(text))),
  );
  const large = JSON.stringify({ content: [{ type: 'text', text: 'a "line"\\\n'.repeat(1_000) }] });
  assert.equal(shown(large), large);
});

test('[RED-01] what another member of the same name replaces is not shown', () => {
  const secret = '"sk-ant-0123456789abcdef0123"';
  for (const text of [
    `{"a":${secret},"a":1}`,
    `{"a" : ${secret}, "a"\n:1,"b" :2}`,
    `{"b":{"a\\"":${secret},"\\u0061\\"":"x"}}`,
    `{"list":[${'"x",'.repeat(20_000)}{"a":${secret},"a":1}]}`,
  ]) {
    assert.ok(!shown(text).includes('sk-ant'), text.slice(0, 80));
  }
});

test('[RED-01] passes on media unread, and masks what only claims to be some', () => {
  const key = 'sk-ant-0123456789abcdef0123';
  const encoded = Buffer.from(key).toString('base64');
  const partOf = (part: object) => shown(JSON.stringify({ content: [part] }));
  for (const type of ['image', 'audio']) {
    assert.ok(partOf({ type, mimeType: 'image/png', data: encoded }).includes(encoded));
    assert.ok(!partOf({ type, data: key }).includes(key));
    assert.ok(!partOf({ type, data: encoded, note: encoded }).includes(`"note":"${encoded}`));
  }
  assert.ok(!partOf({ type: 'text', text: encoded }).includes(encoded));
  assert.ok(!partOf({ type: 'text', data: encoded }).includes(encoded));
  assert.ok(!partOf({ type: 'resource', resource: { blob: encoded } }).includes(encoded));
});
