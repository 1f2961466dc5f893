import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import { only, start } from './support/streams.ts';

const DELTAS = 100_000;
const DELTA = 'x'.repeat(50);

test('[HOST-04] a reader that stalls holds the turn still, and then gets all of it in few events', async (t) => {
  const host = await startTestHost(t, {
    rules: `- reply: [{ text: { value: '${DELTA}', chunkChars: 50, repeat: ${DELTAS} } }]`,
    settings: { 'turn.maxOutputTokens': 10_000_000 },
  });
  const client = host.client('grpc', await host.issuer.token());
  const stream = client.streamChat(only(start({ text: 'go' })))[Symbol.asyncIterator]();
  const first = await stream.next();
  let next = (first.value?.event?.sequence ?? 0n) + 1n;
  // The turn has stopped once the process has nothing left to do for it.
  let before = -1;
  await eventually(
    () => {
      const now = process.cpuUsage().user;
      const isIdle = before >= 0 && now - before < 2000;
      before = now;
      return isIdle;
    },
    { everyMs: 50 },
  );
  assert.equal(host.recorder.records.length, 0, 'the turn went on without its reader');
  let events = 1;
  const begun = first.value?.event?.event;
  let chars = begun?.case === 'assistantDelta' ? begun.value.text.length : 0;
  for (;;) {
    const { done, value } = await stream.next();
    if (done) break;
    events += 1;
    assert.ok(value.event);
    assert.equal(value.event.firstSequence, next);
    next = value.event.sequence + 1n;
    if (value.event.event.case === 'assistantDelta') chars += value.event.event.value.text.length;
  }
  assert.equal(chars, DELTAS * DELTA.length);
  assert.ok(events < DELTAS / 10, `${events} events for ${DELTAS} deltas`);
});
