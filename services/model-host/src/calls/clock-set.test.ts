import { test } from 'node:test';
import { assertEnds, started } from '../../test/relay/started.ts';
import { never, SCOPE } from '../../test/relay/tool-world.ts';
import { readArguments } from '../turn/tool-step.ts';

test('calls of a turn that begins after the clock was set have their deadline by that clock', async (t) => {
  const { run, toolboxes } = await started(t);
  assertEnds(await run('fs.read', { path: '/a' }), 'done');
  const { now } = Date;
  // As after a machine slept: its monotonic clock stood still meanwhile.
  t.mock.method(Date, 'now', () => now() + 40 * 60_000);
  const toolbox = await toolboxes.open(SCOPE, never);
  const call = toolbox.prepare('fs.read', readArguments(JSON.stringify({ path: '/a' })));
  assertEnds(await call.run({ signal: never }), 'done');
});
