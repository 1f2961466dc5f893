import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type RunEvent, type RunState, transition } from './run-state.ts';

const failure = new Error('broken');

const event: fc.Arbitrary<RunEvent> = fc.oneof(
  fc.constant({ name: 'ready' } as const),
  fc.constantFrom('SIGTERM', 'SIGINT').map((reason) => ({ name: 'drain', reason }) as const),
  fc.constant({ name: 'drain', reason: 'broken', error: failure } as const),
  fc.constant({ name: 'force' } as const),
  fc.constant({ name: 'drained' } as const),
);

const RANK = { starting: 0, ready: 1, draining: 2, stopped: 3, failed: 3 } as const;

function run(events: readonly RunEvent[]): RunState[] {
  let state: RunState = { name: 'starting' };
  return events.map((next) => {
    state = transition(state, next);
    return state;
  });
}

test('a run state never goes back, and the last one stays', () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const names = run(events).map(({ name }) => name);
      for (const [index, name] of names.entries()) {
        const before = names[index - 1] ?? 'starting';
        assert.ok(RANK[name] >= RANK[before]);
        if (RANK[before] === 3) assert.equal(name, before);
      }
    }),
  );
});

test('a failure reported before the end is never lost, and nothing fails without one', () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const states = run([...events, { name: 'drain', reason: 'end' }, { name: 'drained' }]);
      const endedAt = states.findIndex(({ name }) => RANK[name] === 3);
      const failed = events.slice(0, endedAt).some((e) => e.name === 'drain' && e.error);
      assert.equal(states.at(-1)?.name, failed ? 'failed' : 'stopped');
    }),
  );
});

test('the first reason to stop is the one reported', () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const first = events.find(({ name }) => name === 'drain');
      const last = run([...events, { name: 'drained' }]).at(-1);
      if (first?.name !== 'drain') assert.ok(last?.name === 'starting' || last?.name === 'ready');
      else assert.ok(last !== undefined && 'reason' in last && last.reason === first.reason);
    }),
  );
});
