import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { catalogue, fromUnknown, isErrorId, toConnectError, ZlError } from './index.ts';

test('[HOST-14] an error keeps its id, message and retryable flag across the wire', () => {
  const sent = new ZlError('device.offline', 'laptop is offline');
  const received = fromUnknown(toConnectError(sent));
  assert.equal(received.id, 'device.offline');
  assert.equal(received.message, 'laptop is offline');
  assert.equal(received.retryable, true);
});

test('[HOST-14] what is not in the catalogue becomes internal and tells nothing of its cause', () => {
  const error = fromUnknown(new Error('password=hunter2'));
  assert.equal(error.id, 'internal');
  assert.doesNotMatch(error.message, /hunter2/);
  assert.match(String(error.cause), /hunter2/);
});

test('an abort whose cause has an id is that cause', () => {
  const abort = new DOMException('aborted', { name: 'AbortError', cause: undefined } as never);
  assert.equal(fromUnknown(abort).id, 'turn.cancelled');
  const timeout = new ZlError('budget.time', 'too long');
  const wrapped = Object.assign(new Error('aborted', { cause: timeout }), { name: 'AbortError' });
  assert.equal(fromUnknown(wrapped), timeout);
});

test('a failed RPC without our detail keeps the meaning of its code', () => {
  assert.equal(fromUnknown(new ConnectError('no', Code.Unauthenticated)).id, 'identity.invalid');
  assert.equal(fromUnknown(new ConnectError('no', Code.DataLoss)).id, 'internal');
});

test('every id is lower case words, and every help is a sentence', () => {
  for (const [id, entry] of Object.entries(catalogue)) {
    assert.match(id, /^[a-z]+(\.[a-z_]+)?$/);
    assert.match(entry.help, /^[A-Z"].*\.$/);
    assert.ok(isErrorId(id));
  }
  assert.equal(isErrorId('constructor'), false);
});
