import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
import { eventually, needsRedis, startRedis, tempDir } from '@zerolatency/testing';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { startTestHost, type TestHost } from './support/host.ts';
import { errorIdOf, eventsOf, namesOf, textOf } from './support/streams.ts';
import { assertNoGap } from './support/turn-bench.ts';

const RULES = `
- when: { after: results }
  reply: [{ text: { value: 'and after it', chunkChars: 2, delayMs: 1 } }]
- when: { text: wait }
  reply: [{ text: { value: 'before it ', chunkChars: 2 } }, { toolCalls: [{ tool: wait }] }]
- reply: [{ text: { value: 'a short answer', chunkChars: 1, delayMs: 1 } }]
`;
const SECRET = 'a secret of at least thirty-two bytes';

/** Two pods behind one Redis. */
async function pods(t: TestContext) {
  const dir = tempDir(t);
  const server = await startRedis({ dir });
  t.after(() => server.stop());
  const file = join(dir, 'sealing');
  writeFileSync(file, SECRET);
  const shared = {
    redis: { nodes: [`127.0.0.1:${server.port}`] },
    'turnLog.sealing': [{ id: 'k1', secret: { file } }],
  };
  const release = Promise.withResolvers<object>();
  const wait = ({ signal }: { signal: AbortSignal }) =>
    new Promise<object>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      void release.promise.then(resolve);
    });
  const options = { rules: RULES, tools: { wait } };
  const one = await startTestHost(t, { ...options, settings: shared });
  const { jwksFile, issuer, audience } = one.issuer;
  const settings = {
    ...shared,
    'identity.jwksFile': jwksFile,
    'identity.issuer': issuer,
    'identity.audience': audience,
  };
  const two = await startTestHost(t, { ...options, settings });
  const clients = [one, two].map(async (host) => host.client('grpc', await one.issuer.token()));
  const [first, second] = await Promise.all(clients);
  const redis = new Redis(server.port, { maxRetriesPerRequest: 1 });
  redis.on('error', () => {});
  t.after(() => redis.disconnect());
  return { one, two, first: first!, second: second!, server, dir, redis, release };
}

const going = (text: string) => ({
  start: { text, deviceId: 'd', onDisconnect: OnDisconnect.CONTINUE },
});

type Chatting = Client<typeof AgentService>;

/** Reads until the condition holds, and loses the connection. */
async function lost(
  client: Chatting,
  text: string,
  isEnough: (event: ChatEvent) => boolean,
): Promise<ChatEvent[]> {
  const leaving = new AbortController();
  const seen: ChatEvent[] = [];
  for await (const { event } of client.chat(going(text), { signal: leaving.signal })) {
    if (event === undefined) continue;
    seen.push(event);
    if (isEnough(event)) break;
  }
  leaving.abort();
  return seen;
}

function pointAfter(events: readonly ChatEvent[]) {
  const last = events.at(-1);
  return { resume: { turnId: last?.turnId ?? '', afterSequence: last?.sequence ?? 0n } };
}

const calls = ({ event }: ChatEvent) => event.case === 'toolCallStarted';

async function appendsOf({ addresses }: TestHost, result: string): Promise<number> {
  const text = await (await fetch(`${addresses.admin}/metrics`)).text();
  const line = new RegExp(
    `^zl_host_turn_log_appends_total\\{[^}]*"${result}"[^}]*\\} (\\d+)$`,
    'm',
  );
  return Number(line.exec(text)?.[1] ?? 0);
}

/** Until the other pod has found the turn, which its own pod announces within moments. */
async function resumed(client: Chatting, seen: readonly ChatEvent[]) {
  const events: ChatEvent[] = [];
  const ended = (async () => {
    for await (const { event } of client.resumeTurn(pointAfter(seen))) {
      if (event !== undefined) events.push(event);
    }
  })();
  ended.catch(() => {});
  return { events, ended };
}

test(
  '[HOST-06] a turn is read on from another pod while it runs, to its end',
  needsRedis(),
  async (t) => {
    const { first, second, redis, release } = await pods(t);
    const seen = await lost(first, 'wait', calls);
    const { turnId } = seen[0]!;
    await eventually(
      async () => Number(await redis.hget(`zl:turn:{${turnId}}`, 'last')) >= seen.length,
    );
    const { events, ended } = await resumed(second, seen);
    release.resolve({});
    await ended;
    assertNoGap([...seen, ...events]);
    assert.equal(textOf([...seen, ...events]), 'before it and after it');
    assert.equal(namesOf(events).at(-1), 'assistantDone');

    // Nothing in Redis shows the text of the turn.
    for (const key of await redis.keys('*:log')) {
      const entries = JSON.stringify(await redis.xrange(key, '-', '+'));
      assert.doesNotMatch(Buffer.from(entries, 'base64').toString('latin1'), /after/);
      assert.match(entries, /"k1\./);
    }
  },
);

test(
  '[HOST-06] wherever a reader moves between pods, it sees every event once, and the same bytes',
  needsRedis(),
  async (t) => {
    const { first, second, redis } = await pods(t);
    const whole = await eventsOf(first.chat(going('short')));
    const { turnId = '', sequence: last = 0n } = whole.at(-1) ?? {};
    const encoded = new Map<string, string>();
    const compare = (events: readonly ChatEvent[]) => {
      for (const event of events) {
        const bytes = Buffer.from(toBinary(ChatEventSchema, event)).toString('hex');
        const range = `${event.firstSequence}-${event.sequence}`;
        assert.equal(bytes, encoded.get(range) ?? bytes);
        encoded.set(range, bytes);
      }
    };
    compare(whole);
    await eventually(async () => (await redis.hget(`zl:turn:{${turnId}}`, 'ended')) === 'done');
    const cuts = fc.array(
      fc.record({ at: fc.nat({ max: Number(last) }), pod: fc.nat({ max: 1 }) }),
      {
        maxLength: 5,
      },
    );
    await fc.assert(
      fc.asyncProperty(cuts, async (moves) => {
        const seen: ChatEvent[] = [];
        for (const { at, pod } of [...moves, { at: Number(last), pod: 1 }]) {
          const afterSequence = seen.at(-1)?.sequence ?? 0n;
          if (afterSequence >= BigInt(at)) continue;
          const client = pod === 0 ? first : second;
          for await (const { event } of client.resumeTurn({ resume: { turnId, afterSequence } })) {
            if (event !== undefined) seen.push(event);
            if ((event?.sequence ?? 0n) >= BigInt(at)) break;
          }
        }
        compare(seen);
        assertNoGap(seen);
        assert.equal(seen.at(-1)?.sequence, last);
        assert.equal(textOf(seen), textOf(whole));
      }),
      { numRuns: 15 },
    );
  },
);

test('[HOST-05] a cancel reaches a turn on another pod', needsRedis(), async (t) => {
  const { one, first, second, redis } = await pods(t);
  const seen = await lost(first, 'wait', calls);
  const { turnId } = seen[0]!;
  await eventually(async () => (await redis.exists(`zl:turn:{${turnId}}`)) === 1);
  await second.cancelTurn({ turnId });
  await eventually(() => one.recorder.records.length === 1);
  assert.equal(one.recorder.records[0]?.outcome, 'cancelled');
  const { events, ended } = await resumed(second, seen);
  await assert.rejects(ended, (reason) => fromConnectError(reason).id === 'turn.cancelled');
  assert.equal(errorIdOf(events), 'turn.cancelled');
  assertNoGap([...seen, ...events]);
});

test(
  '[HOST-06] another user finds nothing on any pod, and a sequence from the future is refused',
  needsRedis(),
  async (t) => {
    const { one, two, first, second, redis } = await pods(t);
    const whole = await eventsOf(first.chat(going('short')));
    const { turnId = '', sequence: last = 0n } = whole.at(-1) ?? {};
    await eventually(async () => (await redis.hget(`zl:turn:{${turnId}}`, 'ended')) === 'done');
    const answers = new Set<string>();
    for (const options of [{ user: 'bob' }, { tenant: 'south' }, {}]) {
      const client = two.client('grpc', await one.issuer.token(options));
      const asked = Object.keys(options).length === 0 ? '0'.repeat(32) : turnId;
      for (const call of [
        () => eventsOf(client.resumeTurn({ resume: { turnId: asked } })),
        () => client.cancelTurn({ turnId: asked }),
      ]) {
        await assert.rejects(call(), (reason) => {
          const { id, message } = fromConnectError(reason);
          answers.add(`${id}: ${message}`);
          return true;
        });
      }
    }
    assert.equal(answers.size, 1);
    for (const afterSequence of [last + 1n, 2n ** 40n]) {
      const refused = eventsOf(second.resumeTurn({ resume: { turnId, afterSequence } }));
      await assert.rejects(refused, (reason) => fromConnectError(reason).id === 'request.invalid');
    }
  },
);

test(
  '[HOST-06] a turn goes on while Redis is away or emptied, and can be resumed on any pod afterwards',
  needsRedis(),
  async (t) => {
    const { one, first, second, server, dir, redis, release } = await pods(t);
    const seen = await lost(first, 'wait', calls);
    const { turnId } = seen[0]!;
    const key = `zl:turn:{${turnId}}`;
    const isThere = async () => Number(await redis.hget(key, 'last')) >= seen.length;
    await eventually(isThere);
    await redis.flushall();
    await eventually(isThere);
    await server.stop();
    await eventually(async () => (await appendsOf(one, 'failed')) > 0);
    const away = eventsOf(second.resumeTurn(pointAfter(seen)));
    await assert.rejects(away, (reason) => fromConnectError(reason).id === 'turn.unreachable');
    release.resolve({});
    const rest = await eventsOf(first.resumeTurn(pointAfter(seen)));
    assert.equal(namesOf(rest).at(-1), 'assistantDone');
    const again = await startRedis({ dir, port: server.port });
    t.after(() => again.stop());
    const elsewhere = await eventually(() => eventsOf(second.resumeTurn(pointAfter(seen))));
    assert.equal(textOf(elsewhere), textOf(rest));
    assertNoGap([...seen, ...elsewhere]);
  },
);
