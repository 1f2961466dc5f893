import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CATALOGUE, type ErrorId, isErrorId, ZlError } from '@zerolatency/errors';
import type { ChatEvent } from '@zerolatency/proto/agent';
import fc from 'fast-check';
import type { LlmProvider, ModelPart, ModelRequest } from '../src/providers/port.ts';
import { type HostTool, hostExecutor } from './host-tools.ts';
import { ANYTHING, fileOf } from './relay/offered-tools.ts';
import type { OfferedTool } from './relay/tool-device.ts';
import { SCOPE, toolWorld } from './relay/tool-world.ts';
import { fakeRecorder } from './support/fake-toolbox.ts';
import { asks, finish, saidIn, says } from './support/replies.ts';
import { collect, GENEROUS_LIMITS, startTurn, turnBench } from './support/turn-bench.ts';

const MAX_BYTES = 2_000;

/** How a tool ends once it has acted. */
const ENDINGS: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
  'act.done': async () => fileOf('done'),
  'act.big': async () => fileOf('x'.repeat(2 * MAX_BYTES)),
  'act.down': async () => Promise.reject(new ZlError('tool.server_down', 'it ended')),
  'act.full': async () => Promise.reject(new ZlError('limit.exceeded', 'no room for the result')),
  'act.wait': (signal) =>
    new Promise((_resolve, reject) => {
      const stop = () => reject(new ZlError('call.cancelled', 'stopped'));
      signal.addEventListener('abort', stop);
    }),
  'fs.read': async () => fileOf('read'),
};

/** Declares no effects, and whatever runs in its turn has some. */
const AGENT = 'agent.ask';

const anyTool = fc.constantFrom(...Object.keys(ENDINGS));
const anyTurn = fc.record({
  steps: fc.array(fc.array(fc.oneof(anyTool, fc.constant(AGENT)), { minLength: 1, maxLength: 3 }), {
    maxLength: 2,
  }),
  nested: fc.array(anyTool, { maxLength: 2 }),
  nestedEnd: fc.constantFrom('answer', 'throw'),
  end: fc.constantFrom('answer', 'throw', 'break off', 'unreadable'),
  /** After so many tools have acted; 0 is at once. */
  stopAfter: fc.option(fc.nat({ max: 3 })),
  stopWith: fc.constantFrom<ErrorId>('turn.cancelled', 'server.draining', 'budget.time'),
  cutAfter: fc.option(fc.nat({ max: 3 })),
  /** After so many records. */
  ledgerFailsAfter: fc.option(fc.nat({ max: 6 })),
});
type AnyTurn = typeof anyTurn extends fc.Arbitrary<infer T> ? T : never;

test('[HOST-14] retryable is never true of a call or a turn in which a tool with effects has acted', async (t) => {
  /** The calls whose tool has acted, by the key in their arguments. */
  const acted = new Set<string>();
  let onActed = () => {};
  let recordsLeft = Number.POSITIVE_INFINITY;
  const recorded = <T>(write: () => T): T => {
    if (--recordsLeft < 0) throw new ZlError('ledger.failed', 'no space left on device');
    return write();
  };
  const tools = Object.entries(ENDINGS).map(([name, end]): OfferedTool => {
    const handler: OfferedTool['handler'] = ({ key }, signal) => {
      if (name !== 'fs.read') acted.add(String(key));
      const ended = end(signal);
      onActed();
      return ended;
    };
    return { name, inputSchema: ANYTHING, handler };
  });
  const world = await toolWorld(t, {
    tools,
    executors: [hostExecutor(agent)],
    limits: { timeoutMs: 250, graceMs: 100, callsPerTurn: 1_000, maxBytes: MAX_BYTES },
    wrapLedger: (ledger) => ({
      intend: (...call) => recorded(() => ledger.intend(...call)),
      denied: (...call) => recorded(() => ledger.denied(...call)),
      conclude: async (...call) => recorded(() => ledger.conclude(...call)),
    }),
  });
  const said = { retryable: 0, notAfterEffects: 0 };

  const oneTurn = fc.asyncProperty(anyTurn, async (turn) => {
    acted.clear();
    recordsLeft = turn.ledgerFailsAfter ?? Number.POSITIVE_INFINITY;
    const bench = turnBench({
      provider: scripted(turn),
      deps: {
        toolboxes: world.toolboxes,
        limits: { ...GENEROUS_LIMITS, maxToolDepth: 2 },
        recorder: { ...fakeRecorder(), recordTurn: async () => recorded(() => 'audit') },
      },
    });
    const { events, turn: running } = startTurn(bench, 'go', { identity: SCOPE.identity });
    onActed = () => {
      if (acted.size === turn.cutAfter) world.relay.cut();
      if (acted.size === turn.stopAfter) running.cancel(new ZlError(turn.stopWith, 'stopped'));
    };
    onActed();
    const all = await collect(events);
    onActed = () => {};
    const isDisturbed = turn.cutAfter !== null || turn.stopAfter !== null || recordsLeft < 0;
    for (const { key, error } of endingsOf(all)) {
      const hasActed = [...acted].some((one) => one.startsWith(key));
      assert.ok(isErrorId(error.id));
      const atMost = CATALOGUE[error.id].retryable;
      assert.ok(!error.retryable || (atMost && !hasActed), `${key || 'the turn'}: ${error.id}`);
      assert.ok(!hasActed || key === '' || error.id !== 'ledger.failed', `${key} has run`);
      const asked = turn.steps.flat().some((name) => name !== 'fs.read');
      if (!asked && !isDisturbed) assert.equal(error.retryable, atMost, error.id);
      if (error.retryable) said.retryable += 1;
      if (hasActed && atMost) said.notAfterEffects += 1;
    }
  });
  await fc.assert(oneTurn, { numRuns: 100, endOnFailure: true });
  // Otherwise the property would hold of flags that are never set.
  assert.ok(said.retryable > 0 && said.notAfterEffects > 0, JSON.stringify(said));
});

const agent: HostTool = {
  name: AGENT,
  version: '1.0.0',
  description: 'Asks another model.',
  inputSchema: ANYTHING,
  hasEffects: false,
  async run(args, { startTurn, signal }) {
    const { error, text } = (await startTurn?.({ text: JSON.stringify(args) }, signal)) ?? {};
    if (error !== undefined) throw error;
    return { text };
  },
};

/** Asks for the tools of one step after another, then ends as the turn has it. */
function scripted({ steps, nested, nestedEnd, end }: AnyTurn): LlmProvider {
  return {
    name: 'mock',
    async *stream({ messages: [first, ...rest] }: ModelRequest): AsyncGenerator<ModelPart> {
      const { key: outer = '' } = saidIn(first) === 'go' ? {} : JSON.parse(saidIn(first));
      const step = rest.filter(({ role }) => role === 'tool').length;
      const asked = (outer === '' ? steps : [nested])[step] ?? [];
      for (const [n, tool] of asked.entries()) {
        const key = `${outer}/${step}.${n}`;
        yield asks(tool, JSON.stringify(tool === 'fs.read' ? { path: key } : { key }), key);
      }
      if (asked.length > 0) return yield finish('tool-calls');
      switch (outer === '' ? end : nestedEnd) {
        case 'throw':
          throw new ZlError('provider.failed', 'overloaded');
        case 'break off':
          return;
        case 'unreadable':
          yield asks('fs.read', '{');
      }
      yield says('answer');
      yield finish();
    },
  };
}

/** The errors of calls by their key, and that of the turn by the empty key. */
function endingsOf(events: readonly ChatEvent[]) {
  const keys = new Map<string, string>();
  return events.flatMap(({ event }) => {
    if (event.case === 'toolCallStarted') {
      const { callId, argumentsJson } = event.value;
      const { key, path } = JSON.parse(argumentsJson);
      keys.set(callId, key ?? path);
    }
    if (event.case === 'error') return [{ key: '', error: event.value }];
    if (event.case !== 'toolCallDone' || event.value.error === undefined) return [];
    return [{ key: keys.get(event.value.callId) ?? '', error: event.value.error }];
  });
}
