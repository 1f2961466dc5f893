import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CallMachine, type CallPhase, mayFollow } from './call-machine.ts';

const phases: readonly CallPhase[] = [
  'prepared',
  'decided',
  'validated',
  'recorded',
  'sent',
  'resuming',
  'done',
  'failed',
  'denied',
  'cancelled',
  'unknown',
];

/** Whatever is asked of it, in any order; refusals leave it as it was. */
function walk(asked: readonly CallPhase[]): CallPhase[] {
  const machine = new CallMachine();
  const taken: CallPhase[] = ['prepared'];
  for (const phase of asked) {
    try {
      machine.to(phase);
      taken.push(phase);
    } catch {
      assert.equal(machine.phase, taken.at(-1));
    }
  }
  return taken;
}

const asked = fc.array(fc.constantFrom(...phases), { maxLength: 40 });

test('nothing is sent that was not decided, validated and recorded, in this order', () => {
  fc.assert(
    fc.property(asked, (phasesAsked) => {
      const taken = walk(phasesAsked);
      const sent = taken.indexOf('sent');
      if (sent === -1) return;
      const way = ['decided', 'validated', 'recorded'].map((phase) =>
        taken.indexOf(phase as CallPhase),
      );
      assert.ok(way.every((place, index) => place > (way[index - 1] ?? 0) && place < sent));
    }),
  );
});

test('only what was sent is done or unknown, and an ending is final', () => {
  fc.assert(
    fc.property(asked, (phasesAsked) => {
      const taken = walk(phasesAsked);
      for (const ending of ['done', 'unknown'] as const) {
        if (taken.includes(ending)) assert.ok(taken.includes('sent'));
      }
      const last = taken.findIndex((phase) => !phases.some((next) => mayFollow(phase, next)));
      assert.ok(last === -1 || last === taken.length - 1);
    }),
  );
});

test('from every phase that is no ending, an ending can be reached', () => {
  for (const phase of phases) {
    const isEnding = !phases.some((next) => mayFollow(phase, next));
    assert.equal(isEnding || mayFollow(phase, 'failed'), true, phase);
  }
});
