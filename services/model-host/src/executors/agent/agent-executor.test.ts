import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CallOutcome, type ChatEvent } from '@zerolatency/proto/agent';
import { eventually } from '@zerolatency/testing';
import { clockNow, type HostTool, hostExecutor } from '../../../test/host-tools.ts';
import { started } from '../../../test/relay/started.ts';
import { errorIdOf, textOf } from '../../../test/support/streams.ts';
import {
  collect,
  GENEROUS_LIMITS,
  runTurn,
  scriptedProvider,
  startTurn,
  turnBench,
} from '../../../test/support/turn-bench.ts';
import type { ModelRequest } from '../../providers/port.ts';
import { type Agent, agentExecutor } from './agent-executor.ts';

const RULES = `
- when: { after: failure }
  reply: [{ text: 'failed: {{error}}' }]
- when: { after: results }
  reply: [{ text: 'heard {{result}}' }]
- when: { text: '^delegate (?<task>.*)' }
  reply: [{ toolCalls: [{ tool: agent.helper, arguments: { task: '{{task}}' } }] }]
- when: { text: '^time' }
  reply: [{ toolCalls: [{ tool: clock.now }] }]
- when: { text: '^secret' }
  reply: [{ toolCalls: [{ tool: clock.secret }] }]
- reply: [{ text: '{{text}} is done' }]`;

const secretClock: HostTool = { ...clockNow, name: 'clock.secret' };

const HELPER: Agent = {
  name: 'helper',
  description: 'Finds things out.',
  prompt: 'You find things out.',
  tools: ['clock.now', 'agent.helper'],
};

async function world(t: TestContext, options: { depth?: number; tools?: HostTool[] } = {}) {
  const { depth = 2, tools = [clockNow, secretClock] } = options;
  const made = await started(t, { executors: [agentExecutor([HELPER]), hostExecutor(...tools)] });
  const asked: ModelRequest[] = [];
  const scripted = scriptedProvider(RULES);
  const provider: typeof scripted = {
    name: 'mock',
    stream(request, signal) {
      asked.push({ ...request, messages: [...request.messages] });
      return scripted.stream(request, signal);
    },
  };
  const limits = { ...GENEROUS_LIMITS, maxToolDepth: depth };
  const bench = turnBench({ provider, deps: { toolboxes: made.toolboxes, limits } });
  return { ...made, asked, bench };
}

function callsIn(events: readonly ChatEvent[]) {
  return events.flatMap(({ event }) => (event.case === 'toolCallStarted' ? [event.value] : []));
}

function doneIn(events: readonly ChatEvent[]) {
  return events.flatMap(({ event }) => (event.case === 'toolCallDone' ? [event.value] : []));
}

test('[HOST-07] an agent is a tool whose call runs a nested turn, with a receipt of the host', async (t) => {
  const { bench, verify } = await world(t);
  const events = await runTurn(bench, 'delegate time');
  assert.match(textOf(events), /^heard \{"answer":"heard \{\\"time\\":/);
  const [outer, nested] = callsIn(events);
  assert.deepEqual([outer?.tool, outer?.parentCallId], ['agent.helper', '']);
  assert.deepEqual([nested?.tool, nested?.parentCallId], ['clock.now', outer?.callId]);
  const receipts = doneIn(events).map(({ receiptJson }) => verify(receiptJson).value?.receipt);
  assert.deepEqual(
    receipts.map((receipt) => [receipt?.tool, receipt?.executor, receipt?.outcome]),
    [
      ['clock.now', 'host', 'done'],
      ['agent.helper', 'host', 'done'],
    ],
  );
  assert.notEqual(receipts[0]?.turnId, receipts[1]?.turnId);
});

test('[HOST-07] an agent at max_tool_depth is refused its calls, and the outer turn goes on', async (t) => {
  const { bench } = await world(t, { depth: 1 });
  const events = await runTurn(bench, 'delegate time');
  assert.equal(doneIn(events)[0]?.error?.id, 'budget.depth');
  assert.match(textOf(events), /^failed: budget\.depth/);
  assert.equal(callsIn(events).length, 1);
});

test('[HOST-07] an agent that calls itself ends at max_tool_depth', async (t) => {
  const { bench } = await world(t, { depth: 3 });
  const events = await runTurn(bench, `${'delegate '.repeat(6)}time`);
  const errors = doneIn(events).map(({ error }) => error?.id);
  // The innermost call is refused, and the agents above it report that.
  assert.deepEqual(errors, ['budget.depth', undefined, undefined]);
});

test('[HOST-07] an agent sees and calls the tools of its list alone, under instructions of its own', async (t) => {
  const { bench, asked } = await world(t);
  const events = await runTurn(bench, 'delegate secret');
  const [refused, agent] = doneIn(events);
  assert.equal(refused?.error?.id, 'tool.unknown');
  assert.notEqual(refused?.receiptJson, '');
  assert.equal(agent?.error, undefined);
  assert.ok(asked[0]?.tools.some(({ name }) => name === 'clock.secret'));
  assert.deepEqual(
    asked[1]?.tools.map(({ name }) => name),
    ['agent.helper', 'clock.now'],
  );
  assert.match(asked[1]?.system ?? '', /^You find things out\.\nYou are a helpful assistant/);
  assert.deepEqual(asked[1]?.messages, [
    { role: 'user', content: [{ type: 'text', text: 'secret' }] },
  ]);
});

test('[POL-01] [TOOL-02] policy and contract hold for an agent', async (t) => {
  const rules = [{ id: 'none', effect: 'deny', tools: ['agent.*'] }] as const;
  const executors = [agentExecutor([HELPER])];
  const denied = await started(t, { executors, rules });
  assert.deepEqual(denied.toolbox.tools, []);
  assert.equal((await denied.run('agent.helper', { task: 'x' })).error?.id, 'policy.denied');
  const { run } = await started(t, { executors });
  assert.equal((await run('agent.helper', {})).error?.id, 'tool.arguments_invalid');
});

test('[HOST-05] cancelling the outer turn cancels the agent and its call', async (t) => {
  let calls = 0;
  const stuck: HostTool = {
    ...clockNow,
    run: (_args, { signal }) =>
      new Promise((_resolve, reject) => {
        calls += 1;
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  const { bench } = await world(t, { tools: [stuck] });
  const { turn, events } = startTurn(bench, 'delegate time');
  const read = collect(events);
  await eventually(() => calls === 1);
  await bench.turns.drain(AbortSignal.abort());
  await turn.ended;
  assert.equal(errorIdOf(await read), 'server.draining');
  const outcomes = doneIn(await read).map(({ outcome }) => outcome);
  assert.deepEqual(outcomes, [CallOutcome.CANCELLED, CallOutcome.CANCELLED]);
});
