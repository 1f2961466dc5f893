import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTool } from '../../test/relay/offered-tools.ts';
import { started } from '../../test/relay/started.ts';
import { SCOPE } from '../../test/relay/tool-world.ts';

test('[OBS-04] each call is one line with its decision, outcome and times', async (t) => {
  const deny = { id: 'no-salaries', effect: 'deny', tools: ['fs.read'] } as const;
  const paths = { argument: 'path', within: ['/salaries'] };
  const allow = { id: 'reading', effect: 'allow', tools: ['fs.*'] } as const;
  const { run, lines } = await started(t, {
    tools: [readTool()],
    rules: [allow, { ...deny, paths }],
  });
  await run('fs.read', { path: '/a' });
  await run('fs.read', { path: '/salaries/b' });
  await run('fs.read', { path: '/a', more: 1 });
  await run('invented', {});
  const { identity, sessionId, turnId, deviceId } = SCOPE;
  const ends = lines.map(({ totalUs: _, remoteUs: __, callId: ___, why: ____, ...line }) => line);
  const common = {
    ...{ tenant: identity.tenant, user: identity.user, session_id: sessionId },
    ...{ turn_id: turnId, device_id: deviceId, executor: 'device', policyId: ends[0]?.policyId },
    ...{ tool: 'fs.read', deviceUs: 0, serverUs: 0, isRecorded: true },
  };
  const failed = { outcome: 'failed', errorId: 'tool.arguments_invalid' };
  const denied = { effect: 'deny', outcome: 'denied', errorId: 'policy.denied' };
  assert.deepEqual(ends, [
    {
      ...{ ...common, effect: 'allow', ruleId: 'reading', outcome: 'done' },
      ...{ deviceUs: ends[0]?.deviceUs, serverUs: ends[0]?.serverUs },
    },
    { ...common, ...denied, ruleId: 'no-salaries' },
    { ...common, ...failed, effect: 'allow', ruleId: 'reading' },
    { ...common, ...denied, ruleId: null, tool: 'invented' },
  ]);
  assert.ok(Number(lines[0]?.remoteUs) > 0 && Number(lines[0]?.totalUs) > 0);
  assert.match(String(lines[1]?.why), /rule no-salaries denies it/);
  assert.equal(new Set(lines.map(({ callId }) => callId)).size, 4);
});
