import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import fc from 'fast-check';
import { startTestHost } from './support/host.ts';
import { eventsOf, namesOf, only, start } from './support/streams.ts';

const RULES = `
- when: { after: results }
  reply: [{ text: { value: 'and now the answer', chunkChars: 4, delayMs: 1 } }]
- reply:
    - text: { value: 'let me look', chunkChars: 4, delayMs: 1 }
    - toolCalls: [{ tool: a }, { tool: a }]
`;

test('[HOST-05] a client that leaves at any event leaves nothing running, and one record', async (t) => {
  const host = await startTestHost(t, { rules: RULES, tools: { a: () => ({}) } });
  const token = await host.issuer.token();
  const clients = [host.client('connect', token), host.client('grpc', token)];
  const asked = start({ text: 'go', deviceId: 'd' });
  const whole = await eventsOf(clients[0]!.streamChat(only(asked)));
  assert.equal(namesOf(whole).at(-1), 'assistantDone');
  let turns = 1;
  const leaveAt = fc.record({ event: fc.nat({ max: whole.length }), client: fc.nat({ max: 1 }) });
  await fc.assert(
    fc.asyncProperty(leaveAt, async ({ event, client }) => {
      const stop = new AbortController();
      const stream = clients[client]!.streamChat(only(asked), { signal: stop.signal });
      const events = stream[Symbol.asyncIterator]();
      for (let seen = 0; seen < event; seen += 1) await events.next();
      stop.abort();
      await events.next().catch(() => {});
      // A client that left before its request arrived never had a turn.
      if (event > 0) turns += 1;
      await eventually(
        () => host.recorder.records.length >= turns && host.toolboxes.running() === 0,
      );
      turns = host.recorder.records.length;
    }),
    { numRuns: 40, endOnFailure: true },
  );
  await eventually(async () => {
    const text = await metrics(host.addresses.admin);
    return (
      /^zl_host_turns_running(\{.*\})? 0$/m.test(text) &&
      /^zl_host_streams_open(\{.*\})? 0$/m.test(text)
    );
  });
});

async function metrics(admin: string): Promise<string> {
  return (await fetch(`${admin}/metrics`)).text();
}
