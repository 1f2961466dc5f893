import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { bundles, runTurn, startSystem } from './system.ts';

test('[HOST-01] the bundled services run a turn outside the project', async (t) => {
  // A bundle must not need the folders above it.
  const programs = tempDir(t);
  cpSync(bundles, programs, { recursive: true });
  const system = await startSystem(t, { programs });
  const turn = await runTurn(await system.chat(), 'read the welcome file');
  assert.equal(turn.ending, 'done');
  assert.deepEqual(
    turn.calls.map(({ outcome }) => outcome),
    ['DONE'],
  );
});
