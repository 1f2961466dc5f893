import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeTerminal } from '../test/fake-terminal.ts';
import { paintFor, printJson, readable } from './terminal.ts';

test('JSON output is one line without control characters and without what is not seen', () => {
  const value = { text: 'a\n\u001b[31m\u007f\u009b31m\u202e\u200b' };
  const terminal = fakeTerminal();
  printJson(terminal, value);
  const [line = '', rest] = terminal.output().split('\n');
  assert.equal(rest, '');
  assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
  assert.deepEqual(JSON.parse(line), value);
});

test('indented JSON has line breaks and no other control characters', () => {
  const value = { text: 'a\n\u009b31m' };
  assert.equal(readable(value), '{\n  "text": "a\\n\\u009b31m"\n}');
});

function painted(options: { isTTY: boolean; env?: Record<string, string> }): string {
  return paintFor(fakeTerminal(options))('green', 'text');
}

test('only a terminal gets colours', () => {
  assert.equal(painted({ isTTY: true }), '\u001b[32mtext\u001b[39m');
  assert.equal(painted({ isTTY: false }), 'text');
});

test('NO_COLOR and a dumb terminal disable colours; an empty NO_COLOR does not', () => {
  assert.equal(painted({ isTTY: true, env: { NO_COLOR: '1' } }), 'text');
  assert.equal(painted({ isTTY: true, env: { TERM: 'dumb' } }), 'text');
  assert.notEqual(painted({ isTTY: true, env: { NO_COLOR: '' } }), 'text');
});
