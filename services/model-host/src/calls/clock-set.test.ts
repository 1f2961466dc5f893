import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { type TestContext, test } from 'node:test';
import { assertEnds, started } from '../../test/relay/started.ts';
import { never, SCOPE } from '../../test/relay/tool-world.ts';
import { readArguments } from '../turn/tool-step.ts';

const AWAY_MS = 40 * 60_000;

/** Sets the time of day of host and device, which share this process. */
function setClock(t: TestContext): void {
  const { now } = Date;
  t.mock.method(Date, 'now', () => now() + AWAY_MS);
}

/** As after the machine slept: its monotonic clock stood still meanwhile. */
function sleep(t: TestContext): void {
  setClock(t);
  const { uptime } = os;
  t.mock.method(os, 'uptime', () => uptime() + AWAY_MS / 1000);
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
}

for (const { what, happen } of [
  { what: 'the clock was set', happen: setClock },
  { what: 'the machine slept', happen: sleep },
]) {
  test(`calls of a turn that begins after ${what} have their full time`, async (t) => {
    const { run, toolboxes } = await started(t);
    assertEnds(await run('fs.read', { path: '/a' }), 'done');
    happen(t);
    const toolbox = await toolboxes.open(SCOPE, never);
    const call = toolbox.prepare('fs.read', readArguments(JSON.stringify({ path: '/a' })));
    assertEnds(await call.run({ signal: never }), 'done');
  });
}
