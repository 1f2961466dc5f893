import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import { type ChatEvent, ChatEventSchema } from '@zerolatency/proto/agent';
import fc from 'fast-check';
import { textOf } from '../../test/support/streams.ts';
import { assertNoGap } from '../../test/support/turn-bench.ts';
import { ChatReader, TurnReader } from '../chat/reader.ts';
import { NOTHING_SPENT } from './budget.ts';
import { TurnLog, type TurnLogBounds } from './turn-log.ts';

const TURN = { sessionId: 's', turnId: 't' };
const { signal: never } = new AbortController();

const WIDE: TurnLogBounds = { maxBehindBytes: 1e6, windowBytes: 1e6, windowEvents: 1e6 };

function opened(bounds?: Partial<TurnLogBounds>) {
  const log = new TurnLog(TURN, { ...WIDE, ...bounds });
  let merged = 0;
  const read = (from = 1) => {
    const onMerged = (deltas: number) => {
      merged += deltas;
    };
    return new TurnReader(log, from, { onAppend() {}, onMerged });
  };
  return { log, events: log, read, merged: () => merged };
}

function takeAll(reader: TurnReader): ChatEvent[] {
  const events: ChatEvent[] = [];
  for (let event = reader.take(); event !== undefined; event = reader.take()) events.push(event);
  return events;
}

test('a reader that keeps up gets every delta by itself', () => {
  const { events, read } = opened();
  const reader = read();
  for (const text of ['a', 'b', 'c']) {
    events.delta(text);
    assert.equal(textOf(takeAll(reader)), text);
  }
});

test('[HOST-04] coalesces deltas while the reader is slow, and says which sequences they cover', () => {
  const { events, read, merged } = opened();
  const reader = read();
  for (let i = 0; i < 100; i += 1) events.delta('x');
  events.usage({ ...NOTHING_SPENT, inputTokens: 1, outputTokens: 1 });
  events.delta('y');
  const taken = takeAll(reader);
  assert.deepEqual(
    taken.map(({ firstSequence, sequence, event }) => [firstSequence, sequence, event.case]),
    [
      [1n, 100n, 'assistantDelta'],
      [101n, 101n, 'usage'],
      [102n, 102n, 'assistantDelta'],
    ],
  );
  assert.equal(textOf(taken), `${'x'.repeat(100)}y`);
  assert.equal(merged(), 99);
});

test('readers of one turn merge for themselves, and one that comes later reads the same bytes', () => {
  const { log, events, read } = opened();
  const quick = read();
  const slow = read();
  const taken: ChatEvent[] = [];
  for (const text of ['a', 'b', 'c']) {
    events.delta(text);
    taken.push(...takeAll(quick));
  }
  events.done({ steps: 1 });
  taken.push(...takeAll(quick));
  assert.deepEqual(
    taken.map(({ sequence }) => sequence),
    [1n, 2n, 3n, 4n],
  );
  const late = takeAll(slow);
  assert.deepEqual(
    late.map(({ sequence }) => sequence),
    [3n, 4n],
  );
  const bytes = (list: ChatEvent[]) =>
    list.map((event) => Buffer.from(toBinary(ChatEventSchema, event)).toString('hex'));
  assert.deepEqual(bytes(takeAll(read(1))), bytes(late));
  assert.deepEqual(bytes(takeAll(read(4))), bytes(taken.slice(3)));
  assert.equal(log.isClosed, true);
});

test('an event is frozen when it enters the log', () => {
  const { log, events } = opened();
  const error = new ZlError('tool.failed', 'broken');
  const times = { totalUs: 1, remoteUs: 1, deviceUs: 1, serverUs: 1 };
  const nothing = { resultJson: '', text: '', receiptJson: '{}', ...times };
  events.finished('c', { outcome: 'failed', happened: 'no effects', error, ...nothing });
  const entry = log.at(1)!;
  assert.throws(() => Object.assign(entry.event.value, { receiptJson: '{"other":1}' }), TypeError);
  assert.ok(entry.event.case === 'toolCallDone');
  assert.ok(Object.isFrozen(entry.event.value.timing));
});

test('[HOST-04] a producer waits while the slowest reader is behind, until half is read', async () => {
  const { log, events, read } = opened({ maxBehindBytes: 600, windowBytes: 10_000 });
  const slow = read();
  const quick = read();
  for (let i = 0; i < 4; i += 1) events.progress('c', { receivedBytes: i });
  assert.equal(log.isFull, false);
  events.progress('c', { receivedBytes: 4 });
  takeAll(quick);
  assert.equal(log.isFull, true);
  let hasRoom = false;
  const room = log.room(never).then(() => {
    hasRoom = true;
  });
  slow.take();
  slow.take();
  await setImmediate();
  assert.equal(hasRoom, false);
  slow.take();
  await room;
});

test('a waiting producer goes on when its reader leaves, and when it is stopped itself', async () => {
  const { log, events, read } = opened({ maxBehindBytes: 1, windowBytes: 1 });
  const reader = read();
  events.delta('x');
  const stop = new AbortController();
  const stopped = log.room(stop.signal);
  stop.abort();
  await stopped;
  const left = log.room(never);
  reader.close();
  await left;
  assert.equal(log.isFull, false);
});

test('[HOST-06] a reader that asks for events beyond the window gets a gap that names them', () => {
  for (const bounds of [{ maxBehindBytes: 1000, windowBytes: 1000 }, { windowEvents: 7 }]) {
    const { log, events, read } = opened(bounds);
    for (let i = 0; i < 100; i += 1) events.delta('x'.repeat(100));
    assert.ok(log.firstSequence > 90);
    const [gap, ...rest] = takeAll(read(5));
    assert.deepEqual(
      [gap?.event.case, gap?.firstSequence, gap?.sequence],
      ['streamGap', 5n, BigInt(log.firstSequence - 1)],
    );
    assertSequences(rest, log.firstSequence, 100);
    assertSequences(takeAll(read(log.firstSequence)), log.firstSequence, 100);
  }
});

test('an event that a live reader has not taken is kept, however old', () => {
  const { events, read } = opened({ maxBehindBytes: 1, windowBytes: 1 });
  const reader = read();
  for (let i = 0; i < 50; i += 1) events.progress('c', { receivedBytes: i });
  assertSequences(takeAll(reader), 1, 50);
});

function assertSequences(events: readonly ChatEvent[], first: number, last: number): void {
  assert.equal(events[0]?.firstSequence, BigInt(first));
  assert.equal(events.at(-1)?.sequence, BigInt(last));
}

test('however appends and reads interleave, the text is whole and no sequence is missing', async () => {
  const move = fc.oneof(fc.constant('read' as const), fc.constant('other' as const), fc.string());
  await fc.assert(
    fc.asyncProperty(fc.array(move, { maxLength: 80 }), async (moves) => {
      const log = new TurnLog(TURN, { maxBehindBytes: 64, windowBytes: 64, windowEvents: 1 });
      const events = log;
      const chat = new ChatReader(() => {});
      chat.follow(log);
      const taken: ChatEvent[] = [];
      let reading: Promise<void> | undefined;
      let said = '';
      for (const step of moves) {
        if (step === 'read') {
          // One reader: it asks again only when it was answered.
          reading ??= chat.next().then(({ value }) => {
            if (value) taken.push(value);
            reading = undefined;
          });
          await Promise.resolve();
        } else if (step === 'other') events.progress('c', { receivedBytes: 1 });
        else {
          events.delta(step);
          said += step;
        }
      }
      events.done({ steps: 1 });
      chat.close();
      await reading;
      for (let next = await chat.next(); !next.done; next = await chat.next()) {
        taken.push(next.value);
      }
      assert.equal(textOf(taken), said);
      assertNoGap(taken);
    }),
  );
});

test('nothing follows the terminal event', () => {
  const { events, read } = opened();
  const reader = read();
  events.done({ steps: 1 });
  events.delta('late');
  events.progress('c', { receivedBytes: 9 });
  assert.deepEqual(
    takeAll(reader).map(({ event }) => event.case),
    ['assistantDone'],
  );
  assert.equal(reader.isDone, true);
});

test('a stream reads its turns in order, and a refusal before whatever is unread', async () => {
  const chat = new ChatReader(() => {});
  const logs = ['first', 'second', 'refused'].map(
    (turnId) => new TurnLog({ sessionId: 's', turnId }),
  );
  const [first, second, refused] = logs;
  chat.follow(first!);
  first!.done({ steps: 1 });
  chat.follow(second!);
  refused!.error(new ZlError('turn.busy', 'one is running'));
  chat.interject(refused!);
  const order: string[] = [];
  for (let i = 0; i < 2; i += 1) order.push((await chat.next()).value?.turnId ?? '');
  second!.done({ steps: 1 });
  order.push((await chat.next()).value?.turnId ?? '');
  chat.close();
  assert.equal((await chat.next()).done, true);
  assert.deepEqual(order, ['refused', 'first', 'second']);
});

test('a reader begins between the first event and the next one, and nowhere else', () => {
  const { events, read } = opened();
  events.delta('a');
  events.delta('b');
  assert.throws(() => read(0), { id: 'request.invalid' });
  // It would count as behind for all that it never asked for, and stop the turn.
  assert.throws(() => read(4), { id: 'request.invalid', message: /has events 1 to 2, not 4/ });
  const reader = read(3);
  events.delta('c');
  assert.equal(textOf(takeAll(reader)), 'c');
});

test('what a tool writes into progress and errors counts as much as its result', () => {
  const { log, events, read } = opened({ maxBehindBytes: 5000, windowBytes: 5000 });
  read();
  events.progress('c', { receivedBytes: 1, message: 'x'.repeat(2000) });
  const error = new ZlError('tool.failed', 'x'.repeat(2000));
  const times = { totalUs: 1, remoteUs: 1, deviceUs: 1, serverUs: 1 };
  events.finished('c', {
    outcome: 'failed',
    happened: 'no effects',
    error,
    ...{ resultJson: '', text: '', receiptJson: '{}', ...times },
  });
  assert.ok(log.endBytes > 4000);
  events.progress('d', { receivedBytes: 1, message: 'x'.repeat(1000) });
  assert.equal(log.isFull, true);
});

test('one event larger than the window reaches a reader that comes after it', () => {
  const { log, events, read } = opened({ maxBehindBytes: 100, windowBytes: 100 });
  events.delta('first');
  events.delta('x'.repeat(10_000));
  assert.equal(log.firstSequence, 2);
  assert.equal(textOf(takeAll(read(2))).length, 10_000);
});

test('a client that waits for room again and again leaves no listeners behind', async () => {
  const chat = new ChatReader(() => {});
  const { signal } = new AbortController();
  for (let i = 0; i < 64; i += 1) {
    const log = new TurnLog({ sessionId: 's', turnId: `${i}` });
    log.error(new ZlError('turn.busy', 'one is running'));
    chat.interject(log);
  }
  const room = chat.room(signal);
  assert.equal(getEventListeners(signal, 'abort').length, 1);
  for (let i = 0; i < 2; i += 1) await chat.next();
  await room;
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});
