import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CATALOGUE, fromUnknown, isErrorId, ZlError } from './index.ts';

test('[HOST-14] an error outside the catalogue becomes internal and hides its message', () => {
  const error = fromUnknown(new Error('password=hunter2'));
  assert.equal(error.id, 'internal');
  assert.doesNotMatch(error.message, /hunter2/);
  assert.match(String(error.cause), /hunter2/);
});

test('an abort with one of our errors as its cause is that error', () => {
  const timeout = new ZlError('budget.time', 'too long');
  const wrapped = Object.assign(new Error('aborted', { cause: timeout }), { name: 'AbortError' });
  assert.equal(fromUnknown(wrapped), timeout);
  assert.equal(fromUnknown(wrapped, { aborted: 'turn.cancelled' }), timeout);
});

test('an abort without a cause means what the caller says, and no turn by default', () => {
  const abort = new DOMException('aborted', 'AbortError');
  assert.equal(fromUnknown(abort).id, 'operation.cancelled');
  assert.equal(fromUnknown(abort, { aborted: 'turn.cancelled' }).id, 'turn.cancelled');
});

test('every id is lower case words, and every help is a sentence', () => {
  for (const [id, entry] of Object.entries(CATALOGUE)) {
    assert.match(id, /^[a-z]+(\.[a-z_]+)?$/);
    assert.match(entry.help, /^[A-Z"].*\.$/);
    assert.ok(isErrorId(id));
  }
  assert.equal(isErrorId('constructor'), false);
});
