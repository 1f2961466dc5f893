import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { CATALOGUE, type ErrorId, ZlError } from '@zerolatency/errors';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from '@zerolatency/proto/error-details';
import { ErrorSchema } from '@zerolatency/proto/errors';
import { createTracing, inSpan } from '../telemetry/index.ts';
import { fromConnectError, toConnectError } from './connect-error.ts';

/** As a client receives it: without the cause. */
function received(error: ZlError): ConnectError {
  const { rawMessage, code, details } = toConnectError(error);
  const copy = new ConnectError(rawMessage, code);
  copy.details = details;
  return copy;
}

test('[HOST-14] an error keeps its id, message, field and retryable flag across the wire', () => {
  const offline = fromConnectError(received(new ZlError('device.offline', 'laptop is offline')));
  assert.equal(offline.id, 'device.offline');
  assert.equal(offline.message, 'laptop is offline');
  assert.equal(offline.retryable, true);
  assert.equal(offline.field, undefined);
  const wrong = new ZlError('request.invalid', 'start.text is empty', { field: 'start.text' });
  assert.equal(fromConnectError(received(wrong)).field, 'start.text');
});

test('[HOST-14] an error after which nothing may be repeated says so across the wire', () => {
  const failed = new ZlError('provider.failed', 'overloaded');
  for (const happened of ['nothing', 'no effects', 'may have run'] as const) {
    const sent = received(failed.after(happened));
    const isRetryable = happened !== 'may have run';
    assert.equal(sent.findDetails(ErrorSchema)[0]?.retryable, isRetryable);
    assert.equal(sent.findDetails(RetryInfoSchema).length, isRetryable ? 1 : 0);
    assert.equal(fromConnectError(sent).retryable, isRetryable);
  }
});

test('[HOST-14] every id is sent with the details of google.rpc that fit it', () => {
  for (const id of Object.keys(CATALOGUE) as ErrorId[]) {
    const sent = received(new ZlError(id, 'why', { field: 'a.b' }));
    assert.equal(sent.findDetails(ErrorSchema)[0]?.id, id);
    const [info] = sent.findDetails(ErrorInfoSchema);
    assert.deepEqual([info?.reason, info?.domain], [id, 'zerolatency']);
    const [violation] = sent.findDetails(BadRequestSchema)[0]?.fieldViolations ?? [];
    assert.deepEqual([violation?.field, violation?.description], ['a.b', 'why']);
    assert.equal(sent.findDetails(RetryInfoSchema).length, CATALOGUE[id].retryable ? 1 : 0);
  }
});

test('[HOST-14] an error names the trace that it belongs to', async () => {
  const { tracer, shutdown } = createTracing({ service: 'test', version: '0' });
  const traceIdOf = () => {
    const sent = received(new ZlError('internal', 'internal error'));
    return sent.findDetails(ErrorSchema)[0]?.traceId;
  };
  assert.equal(traceIdOf(), '');
  await inSpan(tracer, 'work', {}, async (span) => {
    assert.equal(traceIdOf(), span.spanContext().traceId);
  });
  await shutdown();
});

test('a code without our detail keeps its meaning', () => {
  const idOf = (code: Code) => fromConnectError(new ConnectError('no', code)).id;
  assert.equal(idOf(Code.Unavailable), 'peer.unavailable');
  assert.equal(idOf(Code.Aborted), 'peer.lost');
  assert.equal(idOf(Code.DeadlineExceeded), 'peer.timeout');
  assert.equal(idOf(Code.Unimplemented), 'request.unimplemented');
  assert.equal(idOf(Code.Unauthenticated), 'identity.invalid');
  assert.equal(idOf(Code.PermissionDenied), 'identity.forbidden');
  assert.equal(idOf(Code.DataLoss), 'internal');
  for (const code of Object.values(Code)) {
    if (typeof code === 'number') assert.ok(idOf(code) in CATALOGUE);
  }
});

test('the message of an unknown error stays in the cause, also when a library has wrapped it', () => {
  for (const code of [Code.Unknown, Code.Internal, Code.DataLoss]) {
    const wrapped = new ConnectError('cannot open /srv/secret', code);
    const sent = toConnectError(wrapped);
    assert.equal(sent.rawMessage, 'internal error');
    assert.equal(sent.findDetails(ErrorSchema)[0]?.message, 'internal error');
    assert.equal(fromConnectError(wrapped).cause, wrapped);
  }
});

test('an RPC that was cancelled means what the caller says', () => {
  const cancelled = new ConnectError('gone', Code.Canceled);
  assert.equal(fromConnectError(cancelled).id, 'operation.cancelled');
  assert.equal(fromConnectError(cancelled, { aborted: 'turn.cancelled' }).id, 'turn.cancelled');
});

test('an id of a newer catalogue falls back to its code', () => {
  const newer = new ConnectError('no', Code.NotFound, undefined, [
    { desc: ErrorSchema, value: { id: 'moon.unknown', message: 'no moon' } },
  ]);
  const copy = new ConnectError('no', Code.NotFound);
  copy.details = newer.details;
  assert.equal(fromConnectError(copy).id, 'request.not_found');
});
