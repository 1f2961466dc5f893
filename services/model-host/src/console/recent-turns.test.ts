import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import type { EndedCall } from '../calls/ports.ts';
import type { TurnScope } from '../ports.ts';
import { RecentTurns } from './recent-turns.ts';

const LONG = 'x'.repeat(100_000);

function scopeOf(turnId: string, names: Partial<TurnScope> = {}): TurnScope {
  const identity = { tenant: 'north', user: 'ann', roles: ['dev'] };
  return { identity, sessionId: 's', deviceId: 'laptop', turnId, ...names };
}

function callOf(turnId: string, changes: Partial<EndedCall['result']> = {}): EndedCall {
  return {
    ...{ callId: 'c1', tool: 'fs.read', executor: 'device', scope: scopeOf(turnId) },
    ...{ decision: undefined, startedMs: Date.now(), isSignedByDevice: true },
    result: {
      ...{ outcome: 'done', happened: 'no effects', text: 'said', resultJson: '{"said":1}' },
      ...{ receiptJson: '{}', totalUs: 9, remoteUs: 5, deviceUs: 3, serverUs: 1 },
      ...changes,
    },
  };
}

test('[CLI-04] a turn is kept with its phases, its calls and how they ended', () => {
  const turns = new RecentTurns();
  const trace = turns.began(scopeOf('t1'), 'mock');
  trace.entered({ at: 'planning', step: 1, reprompts: 0 });
  trace.providerBegan(0);
  trace.entered({ at: 'acting', step: 1, calls: 1 });
  assert.equal(turns.latestFirst()[0]?.outcome, 'running');
  turns.called(callOf('t1'));
  const error = new ZlError('tool.failed', 'said by the tool');
  turns.called(callOf('t1', { outcome: 'failed', error, receiptJson: '' }));
  trace.entered({ at: 'responding', step: 1 });
  trace.entered({ at: 'done', step: 1 });
  trace.ended({ outcome: 'done', errorId: 'none', auditId: 'a1' });
  const [turn] = turns.latestFirst();
  assert.ok(turn);
  assert.deepEqual(
    turn.phases.map(({ name }) => name),
    ['admitted', 'planning', 'acting', 'responding'],
  );
  assert.equal(turn.phases[1]?.firstPartUs, 0);
  assert.deepEqual([turn.outcome, turn.errorId, turn.isRecorded], ['done', '', true]);
  assert.deepEqual(
    turn.calls.map(({ outcome, errorId, receipt }) => [outcome, errorId, receipt]),
    [
      ['done', '', 'host and device'],
      ['failed', 'tool.failed', 'missing'],
    ],
  );
  assert.doesNotMatch(JSON.stringify(turns.latestFirst()), /said/);
});

test('[CLI-04] what is kept is bounded whatever turns, calls and names there are', () => {
  const turns = new RecentTurns();
  const identity = { tenant: LONG, user: LONG, roles: Array.from({ length: 1000 }, () => LONG) };
  const names = { identity, sessionId: LONG, deviceId: LONG };
  for (let number = 0; number < 60; number++) {
    const trace = turns.began(scopeOf(`t${number}`, names), LONG);
    for (let step = 0; step < 100; step++) {
      trace.entered({ at: 'planning', step, reprompts: 0 });
      turns.called({ ...callOf(`t${number}`), tool: LONG });
    }
  }
  turns.called(callOf('t0'));
  const kept = turns.latestFirst();
  assert.equal(kept.length, 50);
  assert.equal(kept[0]?.turnId, 't59');
  for (const { calls, phases, callsLeftOut } of kept) {
    assert.deepEqual([calls.length, phases.length, callsLeftOut], [64, 64, 36]);
  }
  assert.ok(JSON.stringify([kept, turns.subjects()]).length < 4_000_000);
});

test('[CLI-04] those who had turns are named once each, latest first', () => {
  const turns = new RecentTurns();
  const identityOf = (user: string) => ({ identity: { tenant: 'north', user, roles: [] } });
  for (const [number, user] of ['ann', 'bob', 'ann'].entries()) {
    turns.began(scopeOf(`t${number}`, identityOf(user)), 'mock');
  }
  assert.deepEqual(
    turns.subjects().map(({ user }) => user),
    ['ann', 'bob'],
  );
});
