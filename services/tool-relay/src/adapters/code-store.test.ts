import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CodeStore } from '../registrar/code-store.ts';
import { MemoryCodes } from './memory-codes/memory-codes.ts';

const START_MS = 1_800_000_000_000;

/** Every store is held to the same contract. */
const STORES: Record<string, (clock: { unixMs(): number }) => CodeStore> = {
  memory: (clock) => new MemoryCodes(clock),
};

function openStore(open: (typeof STORES)[string]) {
  const clock = { nowMs: START_MS, unixMs: () => clock.nowMs };
  return { clock, codes: open(clock) };
}

const invitation = { tenant: 'north', deviceId: 'laptop', expiresAtMs: START_MS + 60_000 };

for (const [name, open] of Object.entries(STORES)) {
  test(`[BRG-04] ${name}: a code is taken once, with what it stands for`, async () => {
    const { codes } = openStore(open);
    assert.equal(await codes.add('hash', invitation), true);
    assert.equal(await codes.has('hash'), true);
    const taken = await Promise.all([1, 2, 3].map(() => codes.take('hash')));
    assert.deepEqual(
      taken.filter((each) => each !== undefined),
      [invitation],
    );
    assert.equal(await codes.has('hash'), false);
    assert.equal(await codes.take('other'), undefined);
  });

  test(`[BRG-04] ${name}: an expired code is neither known nor taken`, async () => {
    const { clock, codes } = openStore(open);
    await codes.add('first', invitation);
    await codes.add('second', invitation);
    clock.nowMs = invitation.expiresAtMs - 1;
    assert.deepEqual(await codes.take('first'), invitation);
    clock.nowMs += 1;
    assert.equal(await codes.has('second'), false);
    assert.equal(await codes.take('second'), undefined);
  });

  test(`[BRG-04] ${name}: a code that is given back can be taken again`, async () => {
    const { codes } = openStore(open);
    await codes.add('hash', invitation);
    const taken = await codes.take('hash');
    assert.ok(taken);
    await codes.add('hash', taken);
    assert.deepEqual(await codes.take('hash'), invitation);
  });
}

test('[BRG-04] memory: a full store refuses more codes until some have expired', async () => {
  const { clock, codes } = openStore((each) => new MemoryCodes(each));
  let added = 0;
  while (await codes.add(`hash ${added}`, invitation)) added += 1;
  assert.ok(added >= 1000 && added < 1_000_000);
  assert.equal(await codes.has('hash 0'), true);
  clock.nowMs = invitation.expiresAtMs;
  assert.equal(await codes.add('later', { ...invitation, expiresAtMs: clock.nowMs + 1 }), true);
});
