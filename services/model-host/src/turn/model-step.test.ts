import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { asks, finish, says } from '../../test/support/replies.ts';
import type { LlmProvider, ModelMessage, ModelPart } from '../providers/port.ts';
import { TokenBudget } from './budget.ts';
import { runModelStep } from './model-step.ts';
import { TurnLog } from './turn-log.ts';

const STOP = finish();
const START: ModelPart = { type: 'text-start', id: 'text' };
const CALL = asks('fs.read');

function providerOf(stream: LlmProvider['stream']): LlmProvider {
  return { name: 'test', stream };
}

async function told(
  provider: LlmProvider,
  signal = AbortSignal.any([]),
  messages: readonly ModelMessage[] = [],
): Promise<string[]> {
  const told: string[] = [];
  const step = {
    model: { alias: 'fast', name: 'm', provider },
    request: { system: '', messages, tools: [] },
    budget: new TokenBudget({ maxInputTokens: 1000, maxOutputTokens: 1000 }),
    events: new TurnLog({ sessionId: 's', turnId: 't' }),
    onFirstText: () => told.push('first text'),
    observer: {
      providerBegan(seconds: number) {
        assert.ok(seconds >= 0);
        told.push('began');
      },
      providerEnded: (outcome: string, errorId: string) => told.push(`${outcome} ${errorId}`),
    },
  };
  await runModelStep(step, signal).catch(() => {});
  return told;
}

test('[OBS-02] a reply begins with its first text or tool call, once, and ends once', async () => {
  const text = says('hello');
  const saying = (...parts: ModelPart[]) =>
    providerOf(async function* () {
      yield* parts;
    });
  assert.deepEqual(await told(saying(START, text, text, CALL, STOP)), [
    'first text',
    'began',
    'done none',
  ]);
  assert.deepEqual(await told(saying(CALL, text, STOP)), ['began', 'first text', 'done none']);
  assert.deepEqual(await told(saying(START, STOP)), ['done none']);
  assert.deepEqual(await told(saying(text)), ['first text', 'began', 'failed provider.failed']);
});

test("[OBS-02] distinguishes a provider's error from a cancel", async () => {
  const failing = providerOf(async function* () {
    yield START;
    throw new ZlError('provider.failed', 'overloaded');
  });
  assert.deepEqual(await told(failing), ['failed provider.failed']);
  const ending = new AbortController();
  const hanging = providerOf(async function* () {
    yield CALL;
    ending.abort(new ZlError('turn.cancelled', 'the client left'));
    await Promise.withResolvers<void>().promise;
  });
  assert.deepEqual(await told(hanging, ending.signal), ['began', 'cancelled turn.cancelled']);
});

test('a message is estimated once, however many model calls send it', async () => {
  let reads = 0;
  const message: ModelMessage = {
    role: 'user',
    get content() {
      reads++;
      return [{ type: 'text' as const, text: 'hello' }];
    },
  };
  const answering = providerOf(async function* () {
    yield STOP;
  });
  for (let call = 0; call < 3; call++) await told(answering, undefined, [message]);
  assert.equal(reads, 1);
});
