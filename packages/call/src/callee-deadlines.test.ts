import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { RefusedReason } from '@zerolatency/proto/call';
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
import type { Callee } from './index.ts';
import { readDeviceMessage } from './messages.ts';

test('a call is aborted at its deadline and times out, whatever its tool reports later', () => {
  const { callee, log, sent, said } = setUp();
  callTo(callee, 1);
  callee.begin(idOf(1), { durable: true }, at(1));
  assert.equal(callee.nextWakeMs, 10_000);
  callee.tick(10_000);
  callee.finished(idOf(1), { status: 'done', result: Buffer.from('late') });
  assert.deepEqual(said(), ['OUTCOME']);
  assert.equal(lastOutcome(sent).errorId, 'tool.timeout');
  assert.deepEqual(log, ['dispatch 1', 'abort 1 deadline']);
});

test('a call that has waited until its deadline does not begin, though no timer has fired', () => {
  const { callee, journal, sent, log } = setUp();
  callTo(callee, 1);
  assert.equal(callee.begin(idOf(1), { durable: true }, at(10_000)), 0);
  assert.equal(lastOutcome(sent).errorId, 'tool.timeout');
  assert.equal(lastOutcome(sent).errorMessage, 'did not begin by its deadline');
  assert.deepEqual(log, ['dispatch 1', 'abort 1 deadline']);
  assert.deepEqual(
    [...journal.load()].map(({ state }) => state),
    ['finished'],
  );
});

test('a call whose deadline passes while the journal writes does not run', () => {
  const { callee, sent } = setUp();
  callTo(callee, 1);
  const times = [9_999, 10_000, 10_000];
  assert.equal(
    callee.begin(idOf(1), { durable: true }, () => times.shift() ?? 10_001),
    0,
  );
  assert.equal(lastOutcome(sent).errorId, 'tool.timeout');
});

test('[RLY-05] a call that is cancelled at its deadline has timed out', () => {
  const { callee, sent } = setUp();
  let nowMs = 1;
  const line = lineOf(1, (frame) => callee.frame(frame, nowMs));
  line.call({ ...request, callId: idOf(1) }, 0, 1);
  callee.begin(idOf(1), { durable: false }, at(1));
  nowMs = request.deadlineMs;
  line.cancel();
  assert.equal(lastOutcome(sent).errorId, 'tool.timeout');
});

test('refuses a call whose entry would have to stay for days, and keeps no entry', () => {
  const { callee, sent, log } = setUp({ maxEntries: 1 });
  callTo(callee, 1, { deadlineMs: Number.MAX_SAFE_INTEGER });
  assert.equal(lastRefusal(sent), RefusedReason.DEADLINE_TOO_FAR);
  callTo(callee, 2);
  assert.deepEqual(log, ['dispatch 2']);
});

test('a call without a deadline, or with one that is not a safe integer, is malformed', () => {
  for (const deadlineMs of [0, 2 ** 53]) {
    const { callee, sent, log } = setUp({ maxAheadMs: Number.POSITIVE_INFINITY });
    callTo(callee, 1, { deadlineMs });
    assert.equal(lastRefusal(sent), RefusedReason.MALFORMED, `${deadlineMs}`);
    assert.deepEqual(log, []);
  }
});

/** A caller that knows the journal's clock, and whose own clock is far off. */
function skewedCall(callee: Callee, call: number, times: { sentMs: number; arrivesMs: number }) {
  const line = lineOf(call, (frame) => callee.frame(frame, times.arrivesMs));
  line.take({ device: 0, epoch: 6, journalId: JOURNAL_ID, journalNowMs: () => times.sentMs });
  line.call({ ...request, callId: idOf(call), deadlineMs: 5_000 }, 0, 0);
}

test('a call ends by the clock of the journal, whatever the clock of its caller shows', () => {
  const { callee, sent, log } = setUp();
  skewedCall(callee, 1, { sentMs: 3_600_000, arrivesMs: 3_600_000 });
  assert.deepEqual(log, ['dispatch 1']);
  assert.equal(callee.nextWakeMs, 3_605_000);
  assert.equal(callee.begin(idOf(1), { durable: true }, at(3_604_999)), 1);
  callee.tick(3_605_000);
  assert.equal(lastOutcome(sent).errorId, 'tool.timeout');
});

test('a delay on the way uses up the time of a call, and a clock that runs ahead adds none', () => {
  const { callee, sent, log } = setUp();
  skewedCall(callee, 1, { sentMs: 100_000, arrivesMs: 104_000 });
  assert.equal(callee.nextWakeMs, 105_000);
  skewedCall(callee, 2, { sentMs: 100_000, arrivesMs: 105_000 });
  assert.deepEqual(log, ['dispatch 1']);
  assert.match(lastOutcome(sent).errorMessage, /^arrived 0 ms after its deadline/);
  skewedCall(callee, 3, { sentMs: 300_000, arrivesMs: 104_000 });
  assert.equal(callee.begin(idOf(3), { durable: true }, at(104_000)), 5_000);
});

test('[RLY-05] a clock that was set back before a restart refuses no call', () => {
  const before = setUp({ retentionMs: 100 });
  skewedCall(before.callee, 1, { sentMs: 3_600_000, arrivesMs: 3_600_000 });
  before.callee.finished(idOf(1), { status: 'failed', error: new ZlError('tool.failed', 'no') });
  before.callee.tick(3_605_100);
  assert.equal(before.journal.watermarkMs, 3_605_000);
  const { callee, sent, log } = setUp({}, before.journal);
  lineOf(9, (frame) => callee.frame(frame, 10)).resume(0, 0);
  const stated = readDeviceMessage(sent[0]!);
  assert.ok(stated.type === 'not seen' && stated.journalMs === 3_605_010);
  skewedCall(callee, 2, { sentMs: stated.journalMs, arrivesMs: 10 });
  assert.deepEqual(log, ['dispatch 2']);
  assert.equal(callee.nextWakeMs, 5_010);
});

test('a restored outcome stays for the whole retention, however far ahead the clock is', () => {
  const before = setUp();
  callTo(before.callee, 1);
  before.callee.finished(idOf(1), { status: 'failed', error: new ZlError('tool.failed', 'no') });
  const { callee, journal } = setUp({ retentionMs: 100 }, before.journal, undefined, 9_000_000);
  callee.tick(9_000_099);
  assert.equal([...journal.load()].length, 1);
  callee.tick(9_000_100);
  assert.equal([...journal.load()].length, 0);
});
