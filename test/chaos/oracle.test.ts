import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { tempDir } from '@zerolatency/testing';
import type { Asked, Ending } from './load.ts';
import { judge } from './oracle.ts';
import type { Kill } from './world.ts';

const STARTED_MS = 1_000_000;
const DEADLINE_MS = STARTED_MS + 8_000;

interface Story {
  readonly ending: Ending;
  readonly runs: number;
  readonly endedMs?: number;
  readonly kills?: readonly Kill[];
}

async function violationsOf(t: TestContext, story: Story): Promise<string[]> {
  const dir = tempDir(t);
  const [counted, ledger] = [join(dir, 'counted.txt'), join(dir, 'ledger')];
  mkdirSync(ledger);
  writeFileSync(counted, 'acted key\n'.repeat(story.runs));
  const { ending, endedMs = STARTED_MS + 100, kills = [] } = story;
  const call: Asked = {
    key: 'key',
    argumentsJson: '{}',
    startedMs: STARTED_MS,
    deadlineMs: DEADLINE_MS,
    callId: 'id',
    endedMs,
    ending,
  };
  const { violations } = await judge({ asked: [call], kills, hostReadyMs: [], counted, ledger });
  return [...violations];
}

function ended(outcome: string, errorId = '', isRetryable = false): Ending {
  return { name: 'ended', outcome, errorId, isRetryable };
}

const TRUE_STORIES: Record<string, Story> = {
  'a call that is done and ran once': { ending: ended('DONE'), runs: 1 },
  'a call that failed for want of its device': {
    ending: ended('FAILED', 'device.offline', true),
    runs: 0,
  },
  'a call that the host refused': {
    ending: { name: 'refused', errorId: 'limit.exceeded' },
    runs: 0,
  },
  'an unknown call whose bridge died': {
    ending: ended('UNKNOWN', 'call.unknown_outcome'),
    runs: 1,
    kills: [{ victim: 'bridge', atMs: STARTED_MS + 50 }],
  },
  'an unknown call at its deadline': {
    ending: ended('UNKNOWN', 'call.unknown_outcome'),
    runs: 0,
    endedMs: DEADLINE_MS + 2_000,
  },
};

const FALSE_STORIES: Record<string, Story & { readonly blame: RegExp }> = {
  'a call that ran twice': { ending: ended('DONE'), runs: 2, blame: /ran 2 times/ },
  'a call that is done and never ran': { ending: ended('DONE'), runs: 0, blame: /never ran/ },
  'a denied call that ran': {
    ending: ended('DENIED', 'policy.denied'),
    runs: 1,
    blame: /said not to have run/,
  },
  'a call that ran and may be repeated': {
    ending: ended('FAILED', 'tool.failed', true),
    runs: 1,
    blame: /said not to have run/,
  },
  'a refused call that ran': {
    ending: { name: 'refused', errorId: 'limit.exceeded' },
    runs: 1,
    blame: /without an intent/,
  },
  'a call that never ended': { ending: { name: 'open' }, runs: 0, blame: /has no outcome/ },
  'a call that ended late': {
    ending: ended('DONE'),
    runs: 1,
    endedMs: DEADLINE_MS + 5_001,
    blame: /5001 ms after it was due/,
  },
  'an unknown call of which a relay died': {
    ending: ended('UNKNOWN', 'call.unknown_outcome'),
    runs: 1,
    kills: [{ victim: 'relay', atMs: STARTED_MS + 50 }],
    blame: /no process that knew it died/,
  },
};

for (const [what, story] of Object.entries(TRUE_STORIES)) {
  test(`the oracle accepts ${what}`, async (t) => {
    assert.deepEqual(await violationsOf(t, story), []);
  });
}

for (const [what, { blame, ...story }] of Object.entries(FALSE_STORIES)) {
  test(`the oracle blames ${what}`, async (t) => {
    assert.match((await violationsOf(t, story)).join('\n'), blame);
  });
}
