import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { asks, finish, says } from '../../test/support/replies.ts';
import { turnBench } from '../../test/support/turn-bench.ts';
import type { PreparedCall, Toolboxes, ToolResult } from '../ports.ts';
import type { LlmProvider, ModelRequest } from '../providers/port.ts';
import { TurnLog } from './turn-log.ts';

const DONE: ToolResult = {
  ...{ outcome: 'done', happened: 'may have run', text: 'a result', resultJson: '{}' },
  ...{ receiptJson: '{}', totalUs: 4, remoteUs: 3, deviceUs: 2, serverUs: 1 },
};

/** A turn whose one call has its outcome, and waits for its receipt. */
async function waiting() {
  const recorded = Promise.withResolvers<ToolResult>();
  const requests: ModelRequest[] = [];
  const asked = Promise.withResolvers<void>();
  const provider: LlmProvider = {
    name: 'test',
    async *stream(request) {
      requests.push({ ...request, messages: [...request.messages] });
      if (request.messages.length === 1) {
        yield asks('act');
        yield finish('tool-calls');
      } else {
        asked.resolve();
        yield says('it ran');
        yield finish();
      }
    },
  };
  const call: PreparedCall = {
    ...{ callId: '1'.repeat(32), tool: 'act', argumentsJson: '{}', argumentsDigest: '' },
    run({ onSettled }) {
      onSettled?.(DONE);
      return recorded.promise;
    },
  };
  const tool = { name: 'act', description: '', inputSchema: { type: 'object' } };
  const toolboxes: Toolboxes = { open: async () => ({ tools: [tool], prepare: () => call }) };
  const { turns, ask } = turnBench({ provider, deps: { toolboxes } });
  const log = new TurnLog({ sessionId: 's', turnId: 't' });
  const running = turns.start(ask('act'), log);
  await asked.promise;
  const events = () => {
    const names: string[] = [];
    for (let at = 1; log.at(at); at += 1) names.push(log.at(at)!.event.case);
    return names;
  };
  return { recorded, requests, running, events };
}

test('[AUD-02] the model reads a result while its receipt is written, and nothing is reported before', async () => {
  const { recorded, running, events, requests } = await waiting();
  // The reply has arrived in full by the next turn of the event loop.
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(events(), ['usage', 'toolCallStarted']);
  recorded.resolve(DONE);
  const { state } = await running.ended;
  assert.equal(state.at, 'done');
  const reply = ['assistantDelta', 'usage', 'assistantDone'];
  assert.deepEqual(events(), ['usage', 'toolCallStarted', 'toolCallDone', ...reply]);
  assert.equal(requests.length, 2);
});

test('[AUD-02] the model is asked again when the receipt of a result it has read cannot be written', async () => {
  const { recorded, running, events, requests } = await waiting();
  const error = new ZlError('call.unknown_outcome', 'the disk is full');
  const unrecorded = { ...DONE, outcome: 'unknown', text: '', receiptJson: '', error } as const;
  recorded.resolve(unrecorded);
  const { state } = await running.ended;
  assert.equal(state.at, 'done');
  assert.equal(requests.length, 3);
  const answers = requests.map(({ messages }) => JSON.stringify(messages.at(-1)));
  assert.match(answers[1] ?? '', /a result/);
  assert.match(answers[2] ?? '', /call.unknown_outcome: the disk is full/);
  assert.equal(events().filter((name) => name === 'assistantDelta').length, 1);
});

test('[HOST-05] a cancel while a receipt is written still reports the call before the end', async () => {
  const { recorded, running, events } = await waiting();
  running.cancel(new ZlError('turn.cancelled', 'the client left'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(events(), ['usage', 'toolCallStarted']);
  recorded.resolve(DONE);
  await running.ended;
  assert.deepEqual(events().slice(2), ['toolCallDone', 'error']);
});
