import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { callIdFromKey, type Frame } from '@zerolatency/frame';
import { CallSchema, OutcomeStatus, RefusedReason, ResumeSchema } from '@zerolatency/proto/call';
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
import { CallerSender } from './caller-sender.ts';
import { type Callee, MemoryJournal, requestDigest } from './index.ts';
import { readDeviceMessage } from './messages.ts';

test('[RLY-05] a known call is answered from the journal and not dispatched again', () => {
  const { callee, log, said } = setUp();
  callTo(callee, 1);
  assert.equal(callee.begin(idOf(1), { durable: true }, at(1)), 9_999);
  callTo(callee, 1);
  assert.deepEqual(said(), ['DATA'], 'it lives, and there is no news');
  callee.finished(idOf(1), { status: 'done', result: Buffer.alloc(100_000) });
  callTo(callee, 1);
  assert.deepEqual(said().slice(1), ['DATA', 'DATA', 'OUTCOME', 'DATA', 'DATA', 'OUTCOME']);
  assert.deepEqual(log, ['dispatch 1']);
});

test('[RLY-05] refuses calls for another journal, of an older epoch or with another digest', () => {
  const { callee, sent, log } = setUp();
  const hear = (frame: Frame) => callee.frame(frame, 1);
  lineOf(1, hear, Buffer.alloc(16, 2)).call({ ...request, callId: idOf(1) }, 0, 1);
  assert.equal(lastRefusal(sent), RefusedReason.OTHER_JOURNAL);
  lineOf(1, (frame) => hear({ ...frame, epoch: 4 })).call({ ...request, callId: idOf(1) }, 0, 1);
  assert.equal(lastRefusal(sent), RefusedReason.OLD_EPOCH);
  callTo(callee, 1, { method: 'tools/list' });
  assert.equal(lastRefusal(sent), RefusedReason.MALFORMED, 'the digest is of another request');
  callTo(callee, 1, { argumentSalt: Buffer.alloc(16, 4) });
  assert.equal(lastRefusal(sent), RefusedReason.MALFORMED, 'the digest is of another salt');
  assert.deepEqual(log, []);
  callTo(callee, 1);
  const digest = Buffer.alloc(32, 9);
  const other = new CallerSender({ callId: idOf(1), digest }, hear);
  other.take({ device: 0, epoch: 5, journalId: JOURNAL_ID });
  other.bind(JOURNAL_ID);
  other.resume(0, 0);
  assert.equal(lastRefusal(sent), RefusedReason.DIGEST_MISMATCH);
});

test('[RLY-05] a result that is ready while the device is detached waits for its caller', () => {
  const { callee, said } = setUp();
  callTo(callee, 1);
  callee.begin(idOf(1), { durable: true }, at(1));
  callee.detached();
  callee.finished(idOf(1), { status: 'done', result: Buffer.from('ok') });
  callTo(callee, 2);
  assert.deepEqual(said(), []);
  callee.attached(5);
  callTo(callee, 1);
  assert.deepEqual(said(), ['DATA', 'OUTCOME']);
});

test('[RLY-05] an outcome is persisted and sent only after it is sealed, and never changes', () => {
  const signing: (() => void)[] = [];
  const journal = new MemoryJournal(JOURNAL_ID);
  const { callee, sent, log, said } = setUp({ retentionMs: 100 }, journal, signing);
  const states = () => [...journal.load()].map(({ state }) => state);
  callTo(callee, 1);
  callee.begin(idOf(1), { durable: true }, at(1));
  callee.finished(idOf(1), { status: 'done', result: Buffer.from('result') });
  assert.equal(callee.running, 1);
  assert.equal(callee.nextWakeMs, 10_100, 'its deadline is no reason to wake any more');
  callee.tick(20_000);
  callee.finished(idOf(1), { status: 'failed', error: new ZlError('tool.failed', 'late') });
  assert.deepEqual([states(), signing.length], [['dispatched'], 1]);
  assert.ok(!said().includes('OUTCOME'));
  callTo(callee, 1);
  assert.equal(said().at(-1), 'DATA', 'it lives');
  for (const sign of [...signing, ...signing]) sign();
  assert.deepEqual(states(), ['finished']);
  assert.equal(said().filter((kind) => kind === 'OUTCOME').length, 1);
  assert.equal(lastOutcome(sent).status, OutcomeStatus.DONE);
  assert.equal(callee.running, 0);
  assert.deepEqual(log, ['dispatch 1']);
});

test('progress is sent while a call runs and leaves no trace in the journal', () => {
  const { callee, journal, sent, said } = setUp();
  callTo(callee, 1);
  callee.progress(idOf(1), { progress: 1 });
  assert.deepEqual(said(), [], 'the call has not begun');
  callee.begin(idOf(1), { durable: false }, at(1));
  const before = [...journal.load()];
  callee.progress(idOf(1), { progress: 2, total: 4, message: 'half' });
  assert.deepEqual([...journal.load()], before);
  assert.deepEqual(said(), ['PROGRESS']);
  assert.deepEqual(readDeviceMessage(sent[0]!), {
    type: 'progress',
    report: { progress: 2, total: 4, message: 'half' },
  });
  callee.finished(idOf(1), { status: 'done', result: Buffer.from('{}') });
  callee.progress(idOf(1), { progress: 3 });
  assert.deepEqual(said(), ['PROGRESS', 'DATA', 'OUTCOME']);
});

test('a caller receives progress only while its latest Call or Resume names the feature', () => {
  const { callee, said } = setUp();
  const plain = (schema: typeof CallSchema | typeof ResumeSchema) => (frame: Frame) => {
    const message = fromBinary(schema, frame.payload);
    assert.ok(message.features.includes('progress'));
    message.features = [];
    callee.frame({ ...frame, payload: toBinary(schema, message) }, 1);
  };
  lineOf(1, plain(CallSchema)).call({ ...request, callId: idOf(1) }, 1_000_000, 1);
  callee.begin(idOf(1), { durable: false }, at(1));
  callee.progress(idOf(1), { progress: 1 });
  assert.deepEqual(said(), []);
  lineOf(1, (frame) => callee.frame(frame, 1)).resume(0, 0);
  callee.progress(idOf(1), { progress: 2 });
  assert.deepEqual(said(), ['DATA', 'PROGRESS']);
  lineOf(1, plain(ResumeSchema)).resume(0, 0);
  callee.progress(idOf(1), { progress: 3 });
  assert.deepEqual(said(), ['DATA', 'PROGRESS', 'DATA']);
});

test('a call without a salt of 16 bytes is malformed', () => {
  for (const argumentSalt of [Buffer.alloc(0), Buffer.alloc(15), Buffer.alloc(17)]) {
    const { callee, sent } = setUp();
    const digest = requestDigest({ ...request, argumentSalt });
    const line = new CallerSender({ callId: idOf(1), digest }, (frame) => callee.frame(frame, 1));
    line.bind(JOURNAL_ID);
    line.take({ device: 0, epoch: 5, journalId: JOURNAL_ID });
    line.call({ ...request, argumentSalt, callId: idOf(1) }, 0, 1);
    assert.equal(lastRefusal(sent), RefusedReason.MALFORMED);
  }
});

test('[RLY-05] never accepts a forgotten call again, even if the clock goes back', () => {
  const { callee, sent, journal, log } = setUp({ retentionMs: 100 });
  callTo(callee, 1);
  callee.finished(idOf(1), { status: 'failed', error: new ZlError('tool.failed', 'no') });
  assert.equal(callee.nextWakeMs, 10_100);
  callee.tick(10_100);
  assert.deepEqual([...journal.load()], []);
  callTo(callee, 1);
  assert.equal(lastRefusal(sent), RefusedReason.PAST_WATERMARK);
  assert.deepEqual(log, ['dispatch 1']);
});

test('[RLY-05] after a restart a call that had begun is unknown and any other is not seen', () => {
  const before = setUp();
  callTo(before.callee, 1);
  callTo(before.callee, 2);
  before.callee.begin(idOf(1), { durable: true }, at(1));
  const { callee, sent, said } = setUp({}, before.journal);
  const hear = (frame: Frame) => callee.frame(frame, 1);
  lineOf(1, hear).resume(0, 0);
  lineOf(2, hear).resume(0, 0);
  assert.deepEqual(said(), ['OUTCOME', 'NOT_SEEN']);
  assert.equal(lastOutcome(sent).status, OutcomeStatus.UNKNOWN);
  assert.equal(Buffer.from(lastOutcome(sent).receipt).toString(), 'unknown');
});

test('[RLY-05] a result survives a restart until it is acknowledged', () => {
  const before = setUp();
  callTo(before.callee, 1);
  before.callee.begin(idOf(1), { durable: true }, at(1));
  before.callee.finished(idOf(1), { status: 'done', result: Buffer.from('abcdef') });
  const { callee, sent, journal } = setUp({}, before.journal);
  const line = lineOf(1, (frame) => callee.frame(frame, 1));
  line.resume(2, 100);
  assert.deepEqual(Buffer.from(sent[0]?.payload ?? []), Buffer.from('cdef'));
  line.ack();
  assert.deepEqual(
    [...journal.load()].map(({ state }) => state),
    ['acknowledged'],
  );
});

test('[HOST-05] a call cancelled before it begins never runs, and a running one is aborted', () => {
  const { callee, log, sent } = setUp();
  callTo(callee, 1).cancel();
  assert.equal(callee.begin(idOf(1), { durable: true }, at(1)), 0);
  assert.equal(lastOutcome(sent).status, OutcomeStatus.CANCELLED);
  const line = callTo(callee, 2);
  callee.begin(idOf(2), { durable: true }, at(1));
  line.cancel();
  assert.deepEqual(log, ['dispatch 1', 'abort 1 cancelled', 'dispatch 2', 'abort 2 cancelled']);
  assert.equal(callee.running, 1);
});

test('on a full disk nothing begins, and an outcome waits until the journal takes it', () => {
  const journal = new (class extends MemoryJournal {
    isFull = false;
    override dispatched(...entry: Parameters<MemoryJournal['dispatched']>) {
      this.#write(() => super.dispatched(...entry));
    }
    override finished(...entry: Parameters<MemoryJournal['finished']>) {
      this.#write(() => super.finished(...entry));
    }
    #write(write: () => void) {
      if (this.isFull) throw new ZlError('journal.failed', 'full');
      write();
    }
  })(JOURNAL_ID);
  const { callee, sent, said } = setUp({}, journal);
  const begin = (call: number) => callee.begin(idOf(call), { durable: true }, () => 1);
  callTo(callee, 1);
  assert.ok(begin(1));
  journal.isFull = true;
  callTo(callee, 2);
  assert.equal(begin(2), 0);
  assert.equal(lastRefusal(sent), RefusedReason.BUSY);
  lineOf(2, (frame) => callee.frame(frame, 1)).resume(0, 0);
  assert.equal(said().at(-1), 'NOT_SEEN');
  callTo(callee, 3);
  const denied = new ZlError('policy.denied', 'no');
  callee.finished(idOf(3), { status: 'denied', error: denied });
  assert.equal(lastRefusal(sent), RefusedReason.BUSY, 'a denial that is not kept is not told');
  callee.finished(idOf(1), { status: 'done', result: Buffer.from('{}') });
  const { length } = sent;
  callee.tick(callee.nextWakeMs);
  assert.equal(callee.running, 1);
  journal.isFull = false;
  callee.tick(callee.nextWakeMs);
  assert.deepEqual(said().slice(length), ['DATA', 'OUTCOME']);
  callTo(callee, 2);
  assert.ok(begin(2), 'the caller asked again');
});

test('a Resume sets the credit, so a caller that takes no bytes gets none', () => {
  const { callee, sent, said } = setUp();
  callTo(callee, 1);
  callee.begin(idOf(1), { durable: true }, at(1));
  callee.finished(idOf(1), { status: 'done', result: Buffer.alloc(200_000) });
  sent.length = 0;
  const line = lineOf(1, (frame) => callee.frame(frame, 1));
  line.resume(0, 0);
  assert.deepEqual(said(), ['OUTCOME']);
  line.credit(70_000);
  assert.deepEqual(said(), ['OUTCOME', 'DATA', 'DATA'], 'and CREDIT adds to it');
});

test('the outcome of an acknowledged call states the length of its result after a restart', () => {
  const { callee, journal } = setUp();
  const line = callTo(callee, 1);
  callee.begin(idOf(1), { durable: true }, at(1));
  callee.finished(idOf(1), { status: 'done', result: Buffer.alloc(70) });
  line.ack();
  const again = setUp({}, journal);
  lineOf(1, (frame) => again.callee.frame(frame, 1)).resume(0, 0);
  assert.deepEqual([again.said(), again.sent[0]?.offset], [['OUTCOME'], 70]);
});

test('a runner cannot report done before a call begins, nor denied afterwards', () => {
  const { callee } = setUp();
  callTo(callee, 1);
  assert.throws(() => callee.finished(idOf(1), { status: 'done', result: Buffer.of() }), {
    id: 'internal',
  });
  callee.begin(idOf(1), { durable: true }, at(1));
  const error = new ZlError('policy.denied', 'no');
  assert.throws(() => callee.finished(idOf(1), { status: 'denied', error }), { id: 'internal' });
});

test('[RLY-01] the callee neither throws nor dispatches on arbitrary input', () => {
  const { callee, log, said } = setUp();
  for (let kind = 0; kind < 60; kind += 1) {
    const payload = Buffer.from('ffffffff', 'hex');
    const blank = { flags: 0, device: 0, callId: callIdFromKey(idOf(1)), offset: 3 };
    callee.frame({ kind, payload, epoch: 5, ...blank }, 1);
  }
  assert.deepEqual(said(), ['REFUSED']);
  assert.deepEqual(log, []);
});

test('[RLY-05] frames of an older epoch change nothing', () => {
  const { callee, sent, log, said } = setUp();
  const hear = (frame: Frame) => callee.frame(frame, 1);
  lineOf(1, hear).call({ ...request, callId: idOf(1) }, 0, 1);
  callTo(callee, 2);
  for (const call of [1, 2]) callee.begin(idOf(call), { durable: true }, at(1));
  callee.finished(idOf(1), { status: 'done', result: Buffer.alloc(100) });
  sent.length = 0;
  for (const call of [1, 2]) {
    const old = lineOf(call, (frame) => hear({ ...frame, epoch: 4 }));
    old.resume(0, 100);
    old.credit(100);
    old.cancel();
    old.ack();
  }
  assert.deepEqual([said(), log], [[], ['dispatch 1', 'dispatch 2']]);
  lineOf(1, hear).credit(100);
  assert.deepEqual(said(), ['DATA'], 'the result is still there');
});

test('[RLY-05] only the host that made a call may ask for it, stop it or free its result, also after a restart', () => {
  const journal = new MemoryJournal(JOURNAL_ID);
  const { callee, sent, log } = setUp({}, journal);
  const from = (to: Callee, host: string) => lineOf(1, (frame) => to.frame(frame, 1, host));
  const touch = (to: Callee, host: string) => {
    const sender = from(to, host);
    sender.call({ ...request, callId: idOf(1) }, 0, 1);
    sender.resume(0, 100);
    sender.cancel();
    sender.ack();
  };
  from(callee, 'pool').call({ ...request, callId: idOf(1) }, 100, 1);
  callee.begin(idOf(1), { durable: true }, at(1));
  touch(callee, 'stranger');
  assert.deepEqual(log, ['dispatch 1'], 'it is neither run again nor stopped');
  callee.finished(idOf(1), { status: 'done', result: Buffer.from('result') });
  const restarted = setUp({}, journal);
  for (const { callee: each, sent: answers } of [{ callee, sent }, restarted]) {
    const { length } = answers;
    touch(each, 'stranger');
    assert.equal(lastRefusal(answers), RefusedReason.OTHER_HOST);
    assert.equal(answers.length, length + 2);
  }
  assert.deepEqual(
    [...journal.load()].map(({ state }) => state),
    ['finished'],
  );
  const { length } = restarted.sent;
  from(restarted.callee, 'pool').resume(0, 100);
  assert.deepEqual(restarted.said().slice(length), ['DATA', 'OUTCOME']);
});
