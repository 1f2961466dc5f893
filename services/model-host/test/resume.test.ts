import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { toBinary } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import {
  type AgentService,
  type ChatEvent,
  ChatEventSchema,
  OnDisconnect,
} from '@zerolatency/proto/agent';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import fc from 'fast-check';
import type { FakeTool } from './support/fake-toolbox.ts';
import { startTestHost, type TestHostOptions } from './support/host.ts';
import {
  cancel,
  errorIdOf,
  eventsOf,
  namesOf,
  only,
  Requests,
  resume,
  start,
  textOf,
} from './support/streams.ts';
import { assertNoGap } from './support/turn-bench.ts';

const RULES = `
- when: { after: results }
  reply: [{ text: { value: ' and now the answer', chunkChars: 3 } }]
- when: { text: wait }
  reply: [{ text: { value: 'let me look', chunkChars: 2 } }, { toolCalls: [{ tool: wait }] }]
- reply: [{ text: { value: 'let me look', chunkChars: 2 } }, { toolCalls: [{ tool: a }] }]
`;

async function started(t: TestContext, settings: TestHostOptions['settings'] = {}) {
  const release = Promise.withResolvers<object>();
  const wait: FakeTool = ({ signal }) =>
    new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      void release.promise.then(resolve);
    });
  const host = await startTestHost(t, { rules: RULES, tools: { a: () => ({}), wait }, settings });
  const client = host.client('grpc', await host.issuer.token());
  return { host, client, release };
}

const going = (text: string) => start({ text, deviceId: 'd', onDisconnect: OnDisconnect.CONTINUE });

/** Reads so many events of a turn, and loses the connection. */
async function lost(
  client: Client<typeof AgentService>,
  text: string,
  isEnough: (events: readonly ChatEvent[]) => boolean,
): Promise<ChatEvent[]> {
  const leaving = new AbortController();
  const seen: ChatEvent[] = [];
  const stream = client.streamChat(only(going(text)), { signal: leaving.signal });
  for await (const { event } of stream) {
    if (event !== undefined) seen.push(event);
    if (isEnough(seen)) break;
  }
  leaving.abort();
  return seen;
}

const hasCalled = (events: readonly ChatEvent[]) => namesOf(events).includes('toolCallStarted');

function pointAfter(events: readonly ChatEvent[]) {
  const last = events.at(-1);
  return { turnId: last?.turnId ?? '', afterSequence: last?.sequence ?? 0n };
}

test('[HOST-06] [HOST-05] a turn whose client was lost is read to its end on another stream', async (t) => {
  const { client, release } = await started(t);
  const seen = await lost(client, 'wait', hasCalled);
  const requests = new Requests();
  requests.send(resume(pointAfter(seen)));
  const resumed = client.streamChat(requests)[Symbol.asyncIterator]();
  const rest: ChatEvent[] = [];
  const next = resumed.next();
  release.resolve({});
  for (let read = await next; ; read = await resumed.next()) {
    const { event } = read.value ?? {};
    if (event !== undefined) rest.push(event);
    if (event?.event.case === 'assistantDone') break;
  }
  assertNoGap([...seen, ...rest]);
  assert.equal(textOf([...seen, ...rest]), 'let me look and now the answer');
  // The session goes on, with the history that the client sends.
  requests.send(start({ text: 'more', history: [{ role: 1, text: 'wait' }] }));
  const more = await resumed.next();
  assert.equal(more.value?.event?.sessionId, seen[0]?.sessionId);
  requests.end();
  await resumed.return?.();
});

test('[HOST-06] wherever readers are cut, they see every event once, and the same bytes for the same range', async (t) => {
  const { client } = await started(t);
  const first = await eventsOf(client.streamChat(only(going('go'))));
  const { turnId, sequence: last = 0n } = first.at(-1) ?? {};
  const encoded = new Map<string, string>();
  const compare = (events: readonly ChatEvent[]) => {
    for (const event of events) {
      const range = `${event.firstSequence}-${event.sequence}`;
      const bytes = Buffer.from(toBinary(ChatEventSchema, event)).toString('hex');
      assert.equal(bytes, encoded.get(range) ?? bytes);
      encoded.set(range, bytes);
    }
  };
  compare(first);
  const points = fc.array(fc.nat({ max: Number(last) - 1 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(points, fc.boolean(), async (cuts, byUnary) => {
      const seen: ChatEvent[] = [];
      for (const cut of [...cuts.sort((a, b) => a - b), Number(last)]) {
        const afterSequence = seen.at(-1)?.sequence ?? 0n;
        if (afterSequence >= BigInt(cut)) continue;
        const point = { turnId, afterSequence };
        const stream = byUnary
          ? client.resumeTurn({ resume: point })
          : client.streamChat(only(resume(point)));
        for await (const { event } of stream) {
          if (event !== undefined) seen.push(event);
          if ((event?.sequence ?? 0n) >= BigInt(cut)) break;
        }
      }
      compare(seen);
      assertNoGap(seen);
      assert.equal(seen.at(-1)?.sequence, last);
      assert.equal(textOf(seen), textOf(first));
    }),
    { numRuns: 25 },
  );
});

test('[HOST-06] foreign, unknown and forged turns are not found, all with the same answer', async (t) => {
  const { host, client } = await started(t);
  const [{ turnId = '' } = {}] = await eventsOf(client.streamChat(only(going('go'))));
  const answers = new Set<string>();
  const ask = async (token: string, forged: string) => {
    const other = host.client('connect', token);
    const calls = [
      () => eventsOf(other.resumeTurn({ resume: { turnId: forged } })),
      () => eventsOf(other.streamChat(only(resume({ turnId: forged })))),
      () => other.cancelTurn({ turnId: forged }),
    ];
    for (const call of calls) {
      await assert.rejects(call(), (reason) => {
        const { id, message } = fromConnectError(reason);
        answers.add(`${id}: ${message}`);
        return true;
      });
    }
  };
  const own = await host.issuer.token();
  await ask(await host.issuer.token({ user: 'somebody-else' }), turnId);
  await ask(await host.issuer.token({ tenant: 'another' }), turnId);
  for (const forged of ['0'.repeat(32), `${turnId.slice(1)}0`, '../etc', turnId.toUpperCase()]) {
    await ask(own, forged);
  }
  assert.deepEqual([...answers].length, 1);
  assert.match([...answers][0]!, /^turn\.not_found: /);
});

test('[HOST-06] a sequence from the future is refused, and one before the window begins with a gap', async (t) => {
  const { client } = await started(t, { 'turnLog.maxEvents': 4 });
  const first = await eventsOf(client.streamChat(only(going('go'))));
  const { turnId = '', sequence: last = 0n } = first.at(-1) ?? {};
  for (const afterSequence of [last + 1n, 2n ** 53n, 2n ** 64n - 1n]) {
    const refused = eventsOf(client.resumeTurn({ resume: { turnId, afterSequence } }));
    await assert.rejects(refused, (reason) => fromConnectError(reason).id === 'request.invalid');
  }
  assert.deepEqual(
    await eventsOf(client.resumeTurn({ resume: { turnId, afterSequence: last } })),
    [],
  );
  const resumed = await eventsOf(client.resumeTurn({ resume: { turnId, afterSequence: 2n } }));
  assert.equal(namesOf(resumed)[0], 'streamGap');
  assert.deepEqual([resumed[0]?.firstSequence, resumed[0]?.sequence], [3n, last - 4n]);
  assertNoGap(resumed, 3n);
});

test('[HOST-05] a turn is cancelled from another stream, and by an RPC of its own', async (t) => {
  const { host, client } = await started(t);
  for (const byUnary of [false, true]) {
    const seen = await lost(client, 'wait', hasCalled);
    const { turnId } = pointAfter(seen);
    const rest = client.resumeTurn({ resume: pointAfter(seen) });
    if (byUnary) await client.cancelTurn({ turnId });
    else await eventsOf(client.streamChat(only(cancel(turnId))));
    const events: ChatEvent[] = [];
    await assert.rejects(
      async () => {
        for await (const { event } of rest) if (event !== undefined) events.push(event);
      },
      (reason) => fromConnectError(reason).id === 'turn.cancelled',
    );
    assert.equal(errorIdOf(events), 'turn.cancelled');
    await client.cancelTurn({ turnId });
  }
  await eventually(() => host.toolboxes.running() === 0);
  await eventsOf(client.streamChat(only(cancel('0'.repeat(32)))));
});

test('[HOST-05] a reader that leaves a turn it resumed leaves it running', async (t) => {
  const { host, client, release } = await started(t);
  const seen = await lost(client, 'wait', hasCalled);
  const leaving = new AbortController();
  const { signal } = leaving;
  const point = { ...pointAfter(seen), afterSequence: 0n };
  for await (const _ of client.streamChat(only(resume(point)), { signal })) break;
  leaving.abort();
  release.resolve({});
  await eventually(() => host.recorder.records.length === 1);
  assert.equal(host.recorder.records[0]?.outcome, 'done');
});

test('a stream reads one turn at a time, and one session', async (t) => {
  const { client, release } = await started(t);
  const seen = await lost(client, 'wait', hasCalled);
  const other = await lost(client, 'go', (events) => events.length === 1);
  const events: ChatEvent[] = [];
  await assert.rejects(
    async () => {
      const asked = only(resume(pointAfter(seen)), going('busy'), resume(pointAfter(other)));
      for await (const { event } of client.streamChat(asked)) {
        if (event === undefined) continue;
        events.push(event);
        if (event.event.case === 'error') release.resolve({});
      }
    },
    (reason) => /one stream is one session/.test(fromConnectError(reason).message),
  );
  assert.equal(events[0]?.event.case, 'error');
});
