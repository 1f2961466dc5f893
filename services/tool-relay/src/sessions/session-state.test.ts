import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { leaseOf } from '../../test/parts.ts';
import type { Lease } from '../directory/directory.ts';
import type { Hello, ProvedDevice } from './hello.ts';
import { type SessionEvent, type SessionState, transition } from './session-state.ts';

const hello: Hello = {
  credential: 'credential',
  proof: 'proof',
  journalId: new Uint8Array(16),
  bridgeVersion: '1',
  catalog: new Uint8Array(),
  features: [],
  noRedirect: false,
  lastEpoch: 0,
};
const address = fc.record({
  tenant: fc.constantFrom('north', 'south'),
  deviceId: fc.constantFrom('laptop', 'desktop'),
});
const device: fc.Arbitrary<ProvedDevice> = address.map((of) => ({ ...of, expiresAtMs: 1 }));
const lease: fc.Arbitrary<Lease> = address.map(leaseOf);
const event: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.constant({ type: 'hello' as const, hello }),
  device.map((of) => ({ type: 'proof_held' as const, device: of })),
  lease.map((of) => ({ type: 'leased' as const, lease: of })),
  fc.constant({ type: 'drain' as const }),
  fc.constant({ type: 'ended' as const, end: 'disconnected' as const }),
);

const challenged: SessionState = { name: 'challenged', nonce: new Uint8Array(32) };

/** The states of a sequence, and the events that took effect. */
function run(events: readonly SessionEvent[]) {
  let state = challenged;
  const taken: SessionEvent[] = [];
  const states = [state];
  for (const next of events) {
    const after = transition(state, next);
    if (after === undefined) continue;
    taken.push(next);
    states.push(after);
    state = after;
  }
  return { state, states, taken };
}

test('[RLY-01] a session goes live only after a hello, a valid proof and a lease for that device', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 12 }), (events) => {
      const { states, taken } = run(events);
      if (!states.some(({ name }) => name === 'live')) return;
      const [first, second, third] = taken;
      assert.equal(first?.type, 'hello');
      assert.ok(second?.type === 'proof_held' && third?.type === 'leased');
      assert.equal(second.device.tenant, third.lease.tenant);
      assert.equal(second.device.deviceId, third.lease.deviceId);
    }),
    { numRuns: 3000 },
  );
});

test('a session ends once and stays gone', () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const { states, taken } = run(events);
      const gone = states.findIndex(({ name }) => name === 'gone');
      if (gone >= 0) assert.equal(gone, states.length - 1);
      assert.ok(taken.filter(({ type }) => type === 'ended').length <= 1);
    }),
  );
});

test('only a live session drains', () => {
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const { states } = run(events);
      const draining = states.findIndex(({ name }) => name === 'draining');
      if (draining >= 0) assert.equal(states[draining - 1]?.name, 'live');
    }),
  );
});
