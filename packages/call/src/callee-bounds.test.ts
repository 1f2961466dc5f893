import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { callKey, FrameKind } from '@zerolatency/frame';
import { OutcomeStatus, RefusedReason } from '@zerolatency/proto/call';
import {
  at,
  callTo,
  idOf,
  JOURNAL_ID,
  lastOutcome,
  lastRefusal,
  lineOf,
  request,
  setUp,
} from '../test/callee-rig.ts';
import { excessOf } from './callee-entries.ts';
import { CALLEE_LIMITS } from './callee-ports.ts';
import { MemoryJournal } from './index.ts';

test('running calls, bytes of results and entries are bounded', () => {
  const { callee, sent, log } = setUp({ maxRunning: 1, maxHeldBytes: 1_000, maxEntries: 4 });
  callTo(callee, 1);
  callTo(callee, 2);
  assert.match(lastOutcome(sent).errorMessage, /runs 1 calls/);
  callee.begin(idOf(1), { durable: true }, at(1));
  callee.finished(idOf(1), { status: 'done', result: Buffer.alloc(1_001) });
  assert.match(lastOutcome(sent).errorMessage, /keeps 1000 bytes/);
  assert.deepEqual(log, ['dispatch 1']);
  callTo(callee, 3, { maxBytes: 5 });
  callee.begin(idOf(3), { durable: true }, at(1));
  callee.finished(idOf(3), { status: 'done', result: Buffer.alloc(6) });
  assert.equal(lastOutcome(sent).errorId, 'tool.result_too_large');
  callTo(callee, 4);
  callTo(callee, 5);
  assert.equal(lastRefusal(sent), RefusedReason.BUSY);
});

test('a result may be as large as its limit, and fill the device to the last byte', () => {
  const call = { ...request, callId: idOf(1), digest: Buffer.alloc(32), wantsProgress: false };
  const limits = { ...CALLEE_LIMITS, maxHeldBytes: 1_000, maxResultBytes: 500 };
  const idFor = (resultBytes: number, heldBytes: number, maxBytes = 0) =>
    excessOf({ ...call, maxBytes }, { resultBytes, heldBytes }, limits)?.id;
  assert.equal(idFor(500, 1_000), undefined);
  assert.equal(idFor(500, 1_001), 'limit.exceeded');
  assert.equal(idFor(501, 1_000), 'tool.result_too_large');
  assert.equal(idFor(100, 1_000, 100), undefined);
  assert.equal(idFor(101, 1_000, 100), 'tool.result_too_large');
});

test('a result counts as held while its receipt is being signed', () => {
  const signing: (() => void)[] = [];
  const journal = new MemoryJournal(JOURNAL_ID);
  const { callee, sent } = setUp({ maxHeldBytes: 1_000 }, journal, signing);
  for (const call of [1, 2]) {
    callTo(callee, call);
    callee.begin(idOf(call), { durable: true }, at(1));
  }
  for (const call of [1, 2]) {
    callee.finished(idOf(call), { status: 'done', result: Buffer.alloc(600) });
  }
  for (const sign of signing) sign();
  assert.equal(lastOutcome(sent).errorId, 'limit.exceeded');
});

test('[RLY-07] a call whose caller gives no credit does not hold back another', () => {
  const { callee, sent } = setUp();
  const result = Buffer.alloc(200_000, 7);
  for (const [call, credit] of [
    [1, 0],
    [2, result.length],
  ] as const) {
    const line = lineOf(call, (frame) => callee.frame(frame, 1));
    line.call({ ...request, callId: idOf(call) }, credit, 1);
    callee.begin(idOf(call), { durable: false }, at(1));
  }
  for (const call of [1, 2]) callee.finished(idOf(call), { status: 'done', result });
  const bytesOf = (call: number) =>
    sent
      .filter(({ kind, callId }) => kind === FrameKind.DATA && callKey(callId) === idOf(call))
      .reduce((sum, { payload }) => sum + payload.length, 0);
  assert.deepEqual([bytesOf(1), bytesOf(2)], [0, result.length]);
});

test('an acknowledgement frees the bytes of a result', () => {
  const { callee, sent, said } = setUp({ maxHeldBytes: 100_000 });
  for (let call = 1; call < 20; call += 1) {
    const line = callTo(callee, call);
    callee.begin(idOf(call), { durable: false }, at(1));
    callee.finished(idOf(call), { status: 'done', result: Buffer.alloc(60_000) });
    assert.equal(lastOutcome(sent).status, OutcomeStatus.DONE);
    line.ack();
  }
  sent.length = 0;
  lineOf(19, (frame) => callee.frame(frame, 1)).resume(0, 100_000);
  assert.deepEqual(said(), ['OUTCOME'], 'no byte of the result is left');
  assert.equal(sent[0]?.offset, 60_000);
});

test('outcomes count as held bytes until they are forgotten, and a full device takes no new call', () => {
  const { callee, journal, sent, log } = setUp({ maxHeldBytes: 3_000, retentionMs: 100 });
  const error = new ZlError('tool.failed', 'x'.repeat(990));
  let taken = 0;
  for (let call = 1; call <= 5; call += 1) {
    const line = callTo(callee, call);
    if (log.length === taken) break;
    taken = log.length;
    callee.begin(idOf(call), { durable: false }, at(1));
    callee.finished(idOf(call), { status: 'failed', error });
    line.ack();
  }
  assert.equal(lastRefusal(sent), RefusedReason.BUSY);
  assert.equal(taken, 3);
  const again = setUp({ maxHeldBytes: 3_000, retentionMs: 100 }, journal);
  callTo(again.callee, 6);
  assert.equal(lastRefusal(again.sent), RefusedReason.BUSY, 'restored outcomes count too');
  callee.tick(10_100);
  callTo(callee, 7, { deadlineMs: 20_000 });
  assert.deepEqual(log.slice(taken), ['dispatch 7']);
});
