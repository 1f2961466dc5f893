import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRedis, tempDir } from '@zerolatency/testing';
import { size, TIMEOUT_MS } from '../attack/attack.ts';
import { journalIsLost } from './faults.ts';
import { show } from './report.ts';
import { faults, runChaos } from './run.ts';
import { unfencedPrograms } from './world.ts';

const ROUNDS = size({ short: 1, long: 3 });

test('[RLY-05] without the fences of the epoch the same fault runs calls twice, and the oracle sees it', {
  timeout: TIMEOUT_MS,
  ...needsRedis(),
}, async (t) => {
  const { verdict } = await runChaos(t, {
    seed: 1,
    acts: Array.from({ length: ROUNDS }, () => faults([journalIsLost])).flat(),
    callers: 6,
    calls: 0,
    callsBetween: 10,
    awayMs: 0,
    programs: unfencedPrograms(tempDir(t)),
  });
  const { executedTwice, calls } = verdict;
  show(t, [
    `${'control run without fences'.padEnd(36)} ${executedTwice} of ${calls} calls executed twice`,
  ]);
  assert.ok(executedTwice > 0);
});
