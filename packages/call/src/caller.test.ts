import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary, toJson } from '@bufbuild/protobuf';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { callIdFromKey, type Frame, FrameKind } from '@zerolatency/frame';
import {
  CallSchema,
  OutcomeSchema,
  OutcomeStatus,
  RefusedReason,
  ResumeSchema,
} from '@zerolatency/proto/call';
import { statedHere } from './call.ts';
import { type CallerState, transition } from './caller.ts';
import {
  Caller,
  type CallerLimits,
  type CallerOutcome,
  type CallerRequest,
  type CallerSink,
  type CallProgress,
  type Route,
} from './index.ts';
import { type CalleeContent, calleeFrame, notSeen, progressContent, refused } from './messages.ts';

const CALL_ID = '000102030405060708090a0b0c0d0e0f';
const request: CallerRequest = {
  callId: CALL_ID,
  deadlineMs: 10_000,
  settleByMs: 12_000,
  server: 'fs',
  method: 'tools/call',
  params: Buffer.from('{"name":"read"}'),
  argumentSalt: Buffer.alloc(16, 3),
  maxBytes: 1_000,
  bundleDigest: Buffer.alloc(32, 1),
  principal: { tenant: 'north', user: 'user-1', roles: ['reader'] },
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
};
const route: Route = { device: 7, epoch: 3, journalId: Buffer.alloc(16, 1) };
const newRoute: Route = { ...route, epoch: 4 };

function setUp(
  subject: ConstructorParameters<typeof Caller>[0] = request,
  limits: Partial<CallerLimits> = {},
) {
  const sent: Frame[] = [];
  const outcomes: CallerOutcome[] = [];
  const reports: CallProgress[] = [];
  const chunks: Uint8Array[] = [];
  const sink: CallerSink = {
    send: (frame) => sent.push(frame),
    data: (chunk) => chunks.push(chunk),
    progress: (report) => reports.push(report),
    settled: (outcome) => outcomes.push(outcome),
  };
  const caller = new Caller(subject, sink, limits);
  const hear = (content: CalleeContent, epoch = 3, nowMs = 1) =>
    caller.frame(calleeFrame(CALL_ID, epoch, content), nowMs);
  const kinds = () => sent.map(({ kind }) => FrameKind[kind]);
  return { caller, sent, outcomes, reports, chunks, hear, kinds };
}

function outcomeFrame(message: Parameters<typeof create<typeof OutcomeSchema>>[1]): CalleeContent {
  return {
    kind: FrameKind.OUTCOME,
    payload: toBinary(OutcomeSchema, create(OutcomeSchema, message)),
  };
}

test('the longest time that a device can state fits into an event', () => {
  const { caller, hear, outcomes } = setUp();
  caller.routeUp(route, 0);
  const longest = 2n ** 64n - 1n;
  hear(outcomeFrame({ status: OutcomeStatus.FAILED, deviceUs: longest, serverUs: longest }));
  for (const us of [outcomes[0]?.deviceUs, outcomes[0]?.serverUs]) {
    const seconds = BigInt(Math.trunc((us ?? 0) / 1e6));
    assert.doesNotThrow(() => toJson(DurationSchema, create(DurationSchema, { seconds })));
  }
});

test('the first route carries the call with everything rule 1 requires', () => {
  const { caller, sent } = setUp();
  caller.routeUp(route, 0);
  assert.equal(sent.length, 1);
  const { payload, ...head } = sent[0]!;
  assert.deepEqual(head, {
    kind: FrameKind.CALL,
    flags: 0,
    device: 7,
    callId: callIdFromKey(CALL_ID),
    offset: 0,
    epoch: 3,
  });
  const call = fromBinary(CallSchema, payload);
  const intent = caller.intent(route.journalId);
  assert.deepEqual(Buffer.from(call.digest), Buffer.from(intent.digest));
  assert.deepEqual(Buffer.from(call.journalId), route.journalId);
  assert.equal(call.deadlineUnixMs, 10_000n);
  assert.equal(call.credit, 1_000n);
  assert.deepEqual(call.principal?.roles, ['reader']);
});

test('a call that was never sent is cancelled at once, or fails as offline at its deadline', () => {
  const cancelled = setUp();
  cancelled.caller.cancel(1);
  assert.equal(cancelled.outcomes[0]?.status, 'cancelled');
  const offline = setUp();
  assert.equal(offline.caller.nextWakeMs, 10_000);
  offline.caller.tick(10_000);
  assert.equal(offline.outcomes[0]?.status, 'failed');
  assert.equal(offline.outcomes[0]?.error?.id, 'device.offline');
  assert.equal(offline.caller.nextWakeMs, Number.POSITIVE_INFINITY);
});

test('a call is running only after it was sent, and a settled call stays settled', () => {
  const sent: CallerState = { name: 'sent' };
  const running: CallerState = { name: 'running' };
  const outcome = statedHere('unknown', 'call.unknown_outcome', 'no answer');
  const settled: CallerState = { name: 'unknown', outcome };
  assert.equal(transition({ name: 'validated' }, sent), sent);
  assert.equal(transition(sent, running), running);
  const impossible = { id: 'internal', message: /cannot go from/ };
  assert.throws(() => transition({ name: 'validated' }, running), impossible);
  for (const next of [sent, running, settled]) {
    assert.throws(() => transition(settled, next), impossible);
  }
});

test('[RLY-05] resumes on a newer route from the first missing byte', () => {
  const { caller, sent, hear, chunks } = setUp();
  caller.routeUp(route, 0);
  hear({ kind: FrameKind.DATA, payload: Buffer.from('abc') });
  caller.routeLost(2);
  assert.equal(caller.state.name, 'resuming');
  caller.routeUp({ ...route, epoch: 2 }, 3);
  assert.equal(sent.length, 1, 'an older route is no route');
  caller.routeUp(newRoute, 4);
  assert.equal(sent[1]?.kind, FrameKind.RESUME);
  assert.equal(sent[1]?.offset, 3);
  for (const epoch of [newRoute.epoch, 2]) caller.routeUp({ ...route, epoch }, 5);
  assert.equal(sent.length, 2, 'a route that is known or older asks for nothing');
  hear({ kind: FrameKind.DATA, offset: 3, payload: Buffer.from('old') }, 3);
  assert.equal(Buffer.concat(chunks).toString(), 'abc', 'nothing is heard from an older epoch');
});

test('[RLY-05] sends the same call again after not seen, unless it comes from another journal', () => {
  const same = setUp();
  same.caller.routeUp(route, 0);
  same.caller.routeUp(newRoute, 1);
  same.hear(notSeen({ journalId: route.journalId, epochs: [3, 4], journalMs: 0 }), 4);
  assert.deepEqual(same.kinds(), ['CALL', 'RESUME', 'CALL']);
  const other = setUp();
  other.caller.routeUp(route, 0);
  other.caller.routeUp(newRoute, 1);
  other.hear(notSeen({ journalId: Buffer.alloc(16, 2), epochs: [3, 4], journalMs: 0 }), 4);
  assert.equal(other.outcomes[0]?.status, 'unknown');
  assert.equal(other.outcomes[0]?.error?.id, 'call.unknown_outcome');
});

test('[RLY-05] a journal that may have lost the call leaves it unknown, unless it has no effects', () => {
  const outcomeAfter = (subject: CallerRequest, epochs: readonly number[]) => {
    const { caller, hear, kinds, outcomes } = setUp(subject);
    caller.routeUp(route, 0);
    caller.routeUp(newRoute, 1);
    hear(notSeen({ journalId: route.journalId, epochs, journalMs: 0 }), 4);
    return outcomes[0]?.error?.id ?? kinds().at(-1);
  };
  const sentUnder = route.epoch;
  assert.equal(outcomeAfter(request, [4]), 'call.unknown_outcome');
  assert.equal(outcomeAfter({ ...request, hasEffects: true }, [4]), 'call.unknown_outcome');
  assert.equal(outcomeAfter({ ...request, hasEffects: false }, [4]), 'CALL');
  assert.equal(outcomeAfter(request, [sentUnder, 4]), 'CALL');
  assert.equal(outcomeAfter(request, []), 'CALL', 'a bridge of release 0.1.0');
});

test('[RLY-05] a call that was sent again is judged by its last epoch', () => {
  const { caller, hear, kinds, outcomes } = setUp();
  caller.routeUp(route, 0);
  caller.routeUp(newRoute, 1);
  hear(notSeen({ journalId: route.journalId, epochs: [3, 4], journalMs: 0 }), 4);
  caller.routeUp({ ...route, epoch: 5 }, 2);
  hear(notSeen({ journalId: route.journalId, epochs: [3, 5], journalMs: 0 }), 5);
  assert.deepEqual(kinds(), ['CALL', 'RESUME', 'CALL', 'RESUME']);
  assert.equal(outcomes[0]?.status, 'unknown');
});

test('[RLY-05] a refusal leaves the outcome unknown, and a busy device is asked again', () => {
  const { OTHER_JOURNAL, PAST_WATERMARK, DIGEST_MISMATCH, MALFORMED } = RefusedReason;
  for (const reason of [OTHER_JOURNAL, PAST_WATERMARK, DIGEST_MISMATCH, MALFORMED]) {
    const { caller, hear, outcomes } = setUp();
    caller.routeUp(route, 0);
    hear(refused(reason, route.journalId));
    assert.equal(outcomes[0]?.status, 'unknown');
  }
  const { caller, hear, kinds } = setUp();
  caller.routeUp(route, 0);
  hear(refused(RefusedReason.BUSY, route.journalId));
  caller.tick(caller.nextWakeMs);
  assert.deepEqual(kinds(), ['CALL', 'RESUME']);
});

test('[RLY-05] cancels at the deadline, and after the grace the outcome is unknown', () => {
  const { caller, kinds, outcomes } = setUp();
  caller.routeUp(route, 9_999);
  caller.tick(10_000);
  assert.deepEqual(kinds(), ['CALL', 'CANCEL']);
  caller.tick(12_000);
  assert.equal(outcomes[0]?.status, 'unknown');
});

test("[HOST-05] a cancel waits for the device's outcome, for a bounded time", () => {
  const { caller, hear, outcomes, kinds } = setUp();
  caller.routeUp(route, 0);
  caller.cancel(100);
  caller.cancel(101);
  assert.deepEqual(kinds(), ['CALL', 'CANCEL']);
  assert.ok(caller.nextWakeMs <= 2_100);
  hear(outcomeFrame({ status: 4, errorId: 'call.cancelled', errorMessage: 'stopped' }));
  assert.equal(outcomes[0]?.status, 'cancelled');
  assert.equal(outcomes[0]?.error?.message, 'stopped');
  caller.acknowledge();
  assert.deepEqual(kinds(), ['CALL', 'CANCEL', 'ACK']);
  const silent = setUp();
  silent.caller.routeUp(route, 0);
  silent.caller.cancel(100);
  silent.caller.tick(2_099);
  assert.equal(silent.outcomes.length, 0);
  silent.caller.tick(2_100);
  assert.equal(silent.outcomes[0]?.status, 'unknown');
});

test("bounds a device's text and keeps it well formed", () => {
  const { caller, hear, outcomes, reports } = setUp();
  caller.routeUp(route, 0);
  const text = `${'x'.repeat(8_191)}\u{1f600}${'x'.repeat(100_000)}`;
  hear(progressContent({ progress: 1, message: text }));
  hear(outcomeFrame({ status: 2, errorId: 'tool.failed', errorMessage: text }));
  for (const kept of [reports[0]?.message, outcomes[0]?.error?.message]) {
    assert.equal(kept, `${'x'.repeat(8_191)}\ufffd`);
  }
});

test('a result with a wrong digest or size is not done', () => {
  const damaged = setUp();
  damaged.caller.routeUp(route, 0);
  damaged.hear({ kind: FrameKind.DATA, payload: Buffer.from('abc') });
  damaged.hear({ ...outcomeFrame({ status: 1, resultDigest: Buffer.alloc(32) }), offset: 3 });
  assert.equal(damaged.outcomes[0]?.error?.id, 'tool.result_invalid');
  const large = setUp();
  large.caller.routeUp(route, 0);
  large.hear({ ...outcomeFrame({ status: 1, resultDigest: Buffer.alloc(32) }), offset: 1_001 });
  assert.equal(large.outcomes[0]?.error?.id, 'tool.result_too_large');
});

test('[RLY-07] ignores bytes beyond its credit and asks once for each missing offset', () => {
  const { caller, hear, chunks, kinds } = setUp();
  caller.routeUp(route, 0);
  const piece = (offset: number, length: number) =>
    hear({ kind: FrameKind.DATA, offset, payload: Buffer.alloc(length) });
  for (let offset = 1_001; offset < 100_000; offset += 1_000) piece(offset, 1_000);
  assert.deepEqual(kinds(), ['CALL'], 'beyond the credit');
  for (let round = 0; round < 100; round += 1) {
    piece(0, 0);
    piece(500, 10);
  }
  assert.deepEqual(kinds(), ['CALL', 'RESUME'], 'one frame seems lost');
  piece(0, 500);
  piece(600, 10);
  assert.deepEqual(kinds(), ['CALL', 'RESUME', 'RESUME'], 'another does');
  assert.equal(Buffer.concat(chunks).length, 500);
  const recovered = setUp(setUp().caller.intent(route.journalId));
  recovered.caller.routeUp(newRoute, 0);
  for (let offset = 0; offset < 100_000; offset += 1_000) {
    recovered.hear({ kind: FrameKind.DATA, offset, payload: Buffer.alloc(1_000) }, 4);
  }
  assert.deepEqual(recovered.kinds(), ['RESUME'], 'a recovered call takes no bytes');
});

test('[RLY-07] grants credit for half a window at a time, and none once the call has ended', () => {
  const { caller, hear, kinds } = setUp(request, { windowBytes: 100 });
  caller.routeUp(route, 0);
  hear({ kind: FrameKind.DATA, payload: Buffer.alloc(100) });
  caller.consumed(49);
  assert.deepEqual(kinds(), ['CALL']);
  caller.consumed(1);
  assert.deepEqual(kinds(), ['CALL', 'CREDIT']);
  hear(outcomeFrame({ status: OutcomeStatus.FAILED, errorId: 'tool.failed' }));
  caller.consumed(50);
  assert.deepEqual(kinds(), ['CALL', 'CREDIT']);
});

test('[RLY-05] a refused epoch ends the route only if it is newer than the route', () => {
  const { caller, hear, kinds } = setUp();
  caller.routeUp(route, 0);
  hear(refused(RefusedReason.OLD_EPOCH, route.journalId), 3);
  assert.equal(caller.state.name, 'sent');
  hear(refused(RefusedReason.OLD_EPOCH, route.journalId), 4);
  assert.equal(caller.state.name, 'resuming');
  caller.tick(caller.nextWakeMs);
  assert.deepEqual(kinds(), ['CALL'], 'there is no route to ask on');
});

test('[RLY-05] a restarted host asks for the outcome and never sends the call again', () => {
  const intent = setUp().caller.intent(route.journalId);
  const { caller, sent, hear, outcomes } = setUp(intent);
  caller.routeUp(newRoute, 0);
  assert.equal(sent[0]?.kind, FrameKind.RESUME);
  assert.equal(fromBinary(ResumeSchema, sent[0]?.payload ?? Buffer.of()).credit, 0n);
  hear({ ...outcomeFrame({ status: 1, resultDigest: Buffer.alloc(32, 9) }), offset: 70 }, 4);
  assert.equal(outcomes[0]?.status, 'done');
  assert.equal(outcomes[0]?.resultBytes, 70);
  const unseen = setUp(intent);
  unseen.caller.routeUp(newRoute, 0);
  unseen.hear(notSeen({ journalId: route.journalId, epochs: [3, 4], journalMs: 0 }), 4);
  assert.equal(unseen.outcomes[0]?.status, 'unknown');
});

test('a call that is done, and whose result did not arrive, is unknown and says that it ran', () => {
  const { caller, hear, outcomes } = setUp();
  caller.routeUp(route, 0);
  hear({
    ...outcomeFrame({ status: OutcomeStatus.DONE, resultDigest: Buffer.alloc(32) }),
    offset: 3,
  });
  assert.equal(outcomes.length, 0);
  caller.tick(12_000);
  assert.equal(outcomes[0]?.status, 'unknown');
  assert.match(outcomes[0]?.error?.message ?? '', /^it ran, but its result did not arrive/);
});

test('a device that spoke is asked again only after a whole delay', () => {
  const { caller, hear, kinds } = setUp();
  caller.routeUp(route, 0);
  assert.equal(caller.nextWakeMs, 2_000);
  hear({ kind: FrameKind.DATA }, 3, 1_500);
  assert.equal(caller.nextWakeMs, 3_500, 'from the last word on');
  caller.tick(3_500);
  assert.deepEqual(kinds(), ['CALL', 'RESUME']);
  assert.equal(caller.nextWakeMs, 7_500, 'and a silent one more rarely each time');
  hear({ kind: FrameKind.DATA }, 3, 4_000);
  assert.equal(caller.nextWakeMs, 6_000, 'until it speaks');
});

test('a call states what is left of its time, and the same first deadline in every CALL', () => {
  const { caller, sent, hear } = setUp();
  const timingOf = (frame: Frame | undefined) => {
    const call = fromBinary(CallSchema, frame?.payload ?? Buffer.of());
    return [call.timeLeftMs, call.sentJournalMs, call.journalDeadlineMs, call.deadlineUnixMs];
  };
  caller.routeUp({ ...route, journalNowMs: () => 500_000.9 }, 1_000);
  assert.deepEqual(timingOf(sent[0]), [9_000n, 500_000n, 509_000n, 10_000n]);
  caller.routeUp({ ...newRoute, journalNowMs: () => 77 }, 4_000);
  hear(notSeen({ journalId: route.journalId, epochs: [3, 4], journalMs: 77 }), 4, 4_500);
  assert.deepEqual(timingOf(sent.at(-1)), [5_500n, 77n, 509_000n, 10_000n]);
});

test('a call that was first sent without the clock of the journal never states it', () => {
  const { caller, sent, hear } = setUp();
  caller.routeUp(route, 0);
  caller.routeUp({ ...newRoute, journalNowMs: () => 500_000 }, 1);
  hear(notSeen({ journalId: route.journalId, epochs: [3, 4], journalMs: 500_000 }), 4);
  const calls = sent.filter(({ kind }) => kind === FrameKind.CALL);
  assert.equal(calls.length, 2);
  for (const { payload } of calls)
    assert.equal(fromBinary(CallSchema, payload).journalDeadlineMs, 0n);
});
