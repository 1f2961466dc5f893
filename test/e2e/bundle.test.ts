import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import { runTurn, startSystem } from './system.ts';

test('[HOST-01] [OPS-02] the bundled services run a turn outside the project', async (t) => {
  // The system is to be stopped before the folder of its programs goes.
  let dist = '';
  const system = await startSystem(t, {
    async prepare() {
      dist = tempDir(t);
      execFileSync(process.execPath, ['scripts/bundle.ts', dist], { stdio: 'pipe' });
    },
    mainOf: (service) => join(dist, service, 'main.mjs'),
  });
  const turn = await runTurn(await system.chat(), 'read the welcome file');
  assert.equal(turn.ending, 'done');
  assert.deepEqual(
    turn.calls.map(({ outcome }) => outcome),
    ['DONE'],
  );
});
