import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeTerminal } from '../test/fake-terminal.ts';
import { paintFor } from './paint.ts';

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
