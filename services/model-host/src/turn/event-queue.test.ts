import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChatEvent } from '@zerolatency/proto/agent';
import fc from 'fast-check';
import { EventQueue } from './event-queue.ts';
import { TurnEvents } from './turn-events.ts';

const scope = { sessionId: 's', turnId: 't' };

async function readAll(queue: EventQueue): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  for (;;) {
    const { done, value } = await queue.next();
    if (done) return events;
    events.push(value);
  }
}

function textOf(events: readonly ChatEvent[]): string {
  return events
    .map(({ event }) => (event.case === 'assistantDelta' ? event.value.text : ''))
    .join('');
}

test('a reader that keeps up gets every delta by itself', async () => {
  const queue = new EventQueue();
  const events = new TurnEvents(queue, scope);
  for (const text of ['a', 'b', 'c']) {
    const next = queue.next();
    events.delta(text);
    const { value } = await next;
    assert.equal(value?.event.case === 'assistantDelta' && value.event.value.text, text);
  }
});

test('[HOST-04] deltas nobody has taken merge, without a gap in the numbers', async () => {
  const queue = new EventQueue();
  const events = new TurnEvents(queue, scope);
  for (let i = 0; i < 100; i += 1) events.delta('x');
  events.usage({ inputTokens: 1n, outputTokens: 1n });
  events.delta('y');
  queue.close();
  const told = await readAll(queue);
  assert.deepEqual(
    told.map(({ sequence, event }) => [sequence, event.case]),
    [
      [1n, 'assistantDelta'],
      [2n, 'usage'],
      [3n, 'assistantDelta'],
    ],
  );
  assert.equal(textOf(told), `${'x'.repeat(100)}y`);
  assert.equal(events.mergedDeltas, 99);
});

test('[HOST-04] a full queue holds its producer until half of it was read', async () => {
  const queue = new EventQueue({ maxEvents: 4, maxChars: 1000 });
  const events = new TurnEvents(queue, scope);
  const { signal } = new AbortController();
  for (let i = 0; i < 4; i += 1) events.progress('c', i);
  let hasRoom = false;
  const room = queue.room(signal).then(() => {
    hasRoom = true;
  });
  await queue.next();
  await new Promise(setImmediate);
  assert.equal(hasRoom, false);
  await queue.next();
  await room;
});

test('a producer that waits goes on when the reader leaves, and when it is stopped itself', async () => {
  const queue = new EventQueue({ maxEvents: 1, maxChars: 1 });
  const events = new TurnEvents(queue, scope);
  events.delta('x');
  const stop = new AbortController();
  const stopped = queue.room(stop.signal);
  stop.abort();
  await stopped;
  const left = queue.room(new AbortController().signal);
  queue.abandon();
  await left;
  assert.deepEqual(await queue.next(), { done: true, value: undefined });
});

test('however pushes and reads fall together, the text is whole and the numbers run 1, 2, 3', async () => {
  const move = fc.oneof(fc.constant('read' as const), fc.constant('other' as const), fc.string());
  await fc.assert(
    fc.asyncProperty(fc.array(move, { maxLength: 80 }), async (moves) => {
      const queue = new EventQueue({ maxEvents: 8, maxChars: 64 });
      const events = new TurnEvents(queue, scope);
      const told: ChatEvent[] = [];
      const reads: Promise<void>[] = [];
      let said = '';
      for (const step of moves) {
        if (step === 'read') {
          // One reader: it asks again only when it was answered.
          if (reads.length > told.length) continue;
          reads.push(
            queue.next().then(({ value }) => {
              if (value) told.push(value);
            }),
          );
          await Promise.resolve();
        } else if (step === 'other') events.progress('c', 1);
        else {
          events.delta(step);
          said += step;
        }
      }
      queue.close();
      await Promise.all(reads);
      told.push(...(await readAll(queue)));
      assert.equal(textOf(told), said);
      told.forEach((event, index) => {
        assert.equal(event.sequence, BigInt(index + 1));
      });
    }),
  );
});

test('nothing follows the terminal event', async () => {
  const queue = new EventQueue();
  const events = new TurnEvents(queue, scope);
  events.done({ steps: 1 });
  events.delta('late');
  events.progress('c', 9);
  queue.close();
  assert.deepEqual(
    (await readAll(queue)).map(({ event }) => event.case),
    ['assistantDone'],
  );
});
