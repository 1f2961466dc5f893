import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLedger, verifyLedger } from '@zerolatency/ledger';
import type { Rule } from '@zerolatency/policy';
import { verifierFromPem } from '@zerolatency/signing';
import { readTool } from '../../test/relay/offered-tools.ts';
import { SCOPE, toolWorld } from '../../test/relay/tool-world.ts';
import { runTurn, turnBench } from '../../test/support/turn-bench.ts';
import { createRecorder } from '../adapters/ledger/records.ts';

const READING: Rule = { id: 'reading', effect: 'allow', tools: ['fs.*'] };

test('[POL-06] a tool that policy withholds is an event and a record of its turn', async (t) => {
  const denying: Rule = { id: 'no-welcome', effect: 'deny', tools: ['fs.read'] };
  const world = await toolWorld(t, { tools: [readTool()], rules: [READING, denying] });
  const recorder = createRecorder(world.ledger);
  const bench = turnBench({ deps: { toolboxes: world.toolboxes, recorder } });
  const events = await runTurn(bench, 'hello', { identity: SCOPE.identity });
  const [first, ...rest] = events.map(({ event }) => event);
  assert.ok(first?.case === 'toolsWithheld', JSON.stringify(first));
  const { count, tools } = first.value;
  assert.deepEqual(
    [count, tools.map(({ tool, ruleId, reason }) => [tool, ruleId, reason])],
    [1, [['fs.read', 'no-welcome', 'rule no-welcome denies it']]],
  );
  assert.equal(rest.at(-1)?.case, 'assistantDone');
  await world.ledger.close();
  const records = [];
  for await (const { record } of readLedger(world.ledgerDir)) {
    if (record.kind === 'policy.withheld') records.push(record.body);
  }
  const { tenant, user } = SCOPE.identity;
  const named = { count: 1, tools: [{ tool: 'fs.read', ruleId: 'no-welcome' }] };
  const { policyId, policyDigest, ...record } = records[0]!;
  assert.deepEqual(record, { turnId: 'turn', deviceId: 'laptop', tenant, user, ...named });
  assert.ok(policyId !== undefined && policyDigest !== undefined);
  assert.equal(records.length, 1);
  const keys = [verifierFromPem(world.key.publicPem)];
  const { firstBad } = await verifyLedger(world.ledgerDir, { keys });
  assert.equal(firstBad, undefined);
});

test('[POL-06] a turn whose tools are all allowed records and reports none as withheld', async (t) => {
  const world = await toolWorld(t, { tools: [readTool()], rules: [READING] });
  const { tools, withheld } = await world.toolboxes.open(SCOPE, new AbortController().signal);
  assert.deepEqual([tools.length, withheld], [1, undefined]);
});
