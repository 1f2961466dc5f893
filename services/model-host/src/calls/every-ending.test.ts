import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callKey, FrameKind } from '@zerolatency/frame';
import fc from 'fast-check';
import type { LinkRelay, Tamper } from '../../test/relay/link-relay.ts';
import { readTool } from '../../test/relay/offered-tools.ts';
import { started } from '../../test/relay/started.ts';

const CALLS = 12;

/** Loses, doubles and passes frames as the seed has it. */
function unreliable(fates: readonly number[]): Tamper {
  let next = 0;
  return (frame) => {
    const fate = fates[next % fates.length] ?? 0;
    next += 1;
    if (fate < 15) return [];
    return fate < 30 ? [frame, frame] : [frame];
  };
}

const anyRun = fc.record({
  fates: fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 5, maxLength: 200 }),
  moves: fc.array(fc.constantFrom('move', 'cut', 'return'), { maxLength: 4 }),
  cancelled: fc.array(fc.nat({ max: CALLS - 1 }), { maxLength: 3 }),
  invalid: fc.array(fc.nat({ max: CALLS - 1 }), { maxLength: 3 }),
});

test('[TOOL-04] every call has one outcome and one verified receipt, whatever happens on the way', async (t) => {
  const intended = new Set<string>();
  const world = await started(t, {
    wrapLedger: (ledger) => ({
      ...ledger,
      intend: (facts, ...rest) => {
        intended.add(facts.callId);
        return ledger.intend(facts, ...rest);
      },
    }),
    tools: [readTool('w'.repeat(90_000))],
    limits: { timeoutMs: 250, graceMs: 100, callsPerTurn: 1_000_000 },
  });
  const { device, relay, other, run, verify } = world;
  let home: LinkRelay = relay;
  const disturb = {
    move: () => {
      home.disconnect(device);
      home = home === relay ? other : relay;
      home.connect(device);
    },
    cut: () => home.cut(),
    return: () => {
      home.disconnect(device);
      home.connect(device);
    },
  };
  const oneRun = fc.asyncProperty(anyRun, async ({ fates, moves, cancelled, invalid }) => {
    device.executions.clear();
    const tamper = unreliable(fates);
    const sentUnrecorded: string[] = [];
    for (const pod of [relay, other]) {
      pod.tamper = (frame, direction) => {
        const callId = callKey(frame.callId);
        if (frame.kind === FrameKind.CALL && !intended.has(callId)) sentUnrecorded.push(callId);
        return tamper(frame, direction);
      };
    }
    const calls = Array.from({ length: CALLS }, (_, n) => {
      const abort = new AbortController();
      const call = run('fs.read', invalid.includes(n) ? {} : { path: `/${n}` }, abort.signal);
      if (cancelled.includes(n)) setImmediate(() => abort.abort());
      return call;
    });
    for (const move of moves) {
      await new Promise((resolve) => setImmediate(resolve));
      disturb[move]();
    }
    for (const result of await Promise.all(calls)) {
      const { value, error } = verify(result.receiptJson);
      assert.equal(error, undefined);
      assert.equal(value?.receipt.outcome, result.outcome);
      assert.equal(value?.receipt.errorId, result.error?.id);
      assert.equal(result.outcome === 'done', result.resultJson.length > 90_000);
      const isExecuted = result.outcome === 'done' || result.outcome === 'unknown';
      assert.ok(!isExecuted || intended.has(value?.receipt.callId ?? ''));
    }
    assert.deepEqual(sentUnrecorded, []);
    assert.ok([...device.executions.values()].every((times) => times === 1));
  });
  await fc.assert(oneRun, { numRuns: 8, endOnFailure: true });
});
