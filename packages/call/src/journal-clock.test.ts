import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callKey, type Frame, FrameKind } from '@zerolatency/frame';
import { RefusedReason } from '@zerolatency/proto/call';
import { JournalClock } from './index.ts';
import { calleeFrame, notSeen, refused } from './messages.ts';

const journalId = Buffer.alloc(16, 1);

function setUp() {
  const asked: Frame[] = [];
  const read: number[] = [];
  let refusals = 0;
  let nowMs = 1_000;
  const clock = new JournalClock(
    { device: 7, epoch: 3, journalId },
    {
      send: (frame) => asked.push(frame),
      steadyMs: () => nowMs,
      onRead: (journalMs) => read.push(journalMs),
      onRefused: () => refusals++,
    },
  );
  const answer = (question: Frame | undefined, journalMs: number, epoch = 3) => {
    const content = notSeen({ journalId, epochs: [3], journalMs });
    return clock.hear(calleeFrame(callKey(question?.callId ?? Buffer.alloc(16)), epoch, content));
  };
  const refuse = (question: Frame | undefined) => {
    const content = refused(RefusedReason.BUSY, journalId);
    return clock.hear(calleeFrame(callKey(question?.callId ?? Buffer.alloc(16)), 3, content));
  };
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { clock, asked, read, answer, refuse, refusals: () => refusals, pass };
}

test('a reading of the journal clock runs on with the time of the caller', async () => {
  const { clock, asked, read, answer, pass } = setUp();
  const first = clock.ask();
  assert.deepEqual([asked[0]?.kind, asked[0]?.device], [FrameKind.RESUME, 7]);
  pass(40);
  assert.ok(answer(asked[0], 500_000));
  await first;
  pass(10);
  assert.equal(clock.nowMs(), 500_010);
  assert.deepEqual(read, [500_000]);
});

test('an answer of another epoch, to another question or a second one is no reading', () => {
  const { clock, asked, read, answer } = setUp();
  void clock.ask();
  assert.equal(answer(asked[0], 1, 2), false);
  assert.equal(answer(undefined, 1), false);
  void clock.ask();
  assert.equal(answer(asked[0], 1), false, 'the answer to the question before');
  assert.ok(answer(asked[1], 2));
  assert.equal(answer(asked[1], 3), false);
  assert.deepEqual(read, [2]);
});

test('an old reading is taken anew, and used until the answer comes', () => {
  const { clock, asked, answer, pass } = setUp();
  void clock.ask();
  answer(asked[0], 500_000);
  pass(600_000);
  assert.equal(clock.nowMs(), 1_100_000);
  assert.equal(asked.length, 1);
  pass(1);
  assert.equal(clock.nowMs(), 1_100_001);
  assert.equal(clock.nowMs(), 1_100_001);
  assert.equal(asked.length, 2, 'it asks once');
  answer(asked[1], 1_100_031);
  assert.equal(clock.nowMs(), 1_100_031);
});

test('a refused question is reported, and a later answer still counts', () => {
  const { clock, asked, read, answer, refuse, refusals } = setUp();
  void clock.ask();
  assert.equal(refuse(asked[0]), false);
  assert.equal(refusals(), 1);
  assert.ok(answer(asked[0], 7));
  assert.deepEqual([read, refusals()], [[7], 1]);
});
