import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileSchema } from '@zerolatency/contracts';
import { ZlError } from '@zerolatency/errors';
import { FrameKind } from '@zerolatency/frame';
import { readLedger } from '@zerolatency/ledger';
import { eventually } from '@zerolatency/testing';
import { fileOf, readTool, stuckTool } from '../../test/relay/offered-tools.ts';
import { assertEnds, started } from '../../test/relay/started.ts';
import { never, SCOPE } from '../../test/relay/tool-world.ts';
import { readArguments } from '../turn/tool-step.ts';

const auditContracts = join(import.meta.dirname, '../../../../contracts/audit/records');

test('[TOOL-04] the device runs a call and both ends sign its receipt', async (t) => {
  const { run, verify, device } = await started(t);
  const result = await run('fs.read', { path: '/home/user/welcome.txt' });
  assertEnds(result, 'done');
  assert.equal(JSON.parse(result.resultJson).structuredContent.content, 'hello');
  const { value, error } = verify(result.receiptJson);
  assert.equal(error, undefined);
  assert.equal(value?.receipt.role, 'host');
  assert.equal(value?.receipt.turnId, 'turn-1');
  assert.equal(value?.receipt.toolVersion, '1.0.0');
  assert.equal(value?.device?.deviceId, 'laptop');
  assert.equal(device.executions.size, 1);
});

test('[TOOL-04] the intent precedes the receipt in the ledger, and each record matches its contract', async (t) => {
  const rules = [{ id: 'reads', effect: 'allow', tools: ['fs.read'] }] as const;
  const { run, ledger, ledgerDir } = await started(t, { rules });
  await run('fs.read', { path: '/a' });
  await run('fs.write', { path: '/a' });
  await ledger.close();
  const kinds: string[] = [];
  for await (const { record } of readLedger(ledgerDir)) {
    kinds.push(record.kind);
    const file = join(auditContracts, `${record.kind}.schema.json`);
    const schema = compileSchema(JSON.parse(readFileSync(file, 'utf8')), 'built-in');
    assert.equal(schema.validate(record.body).error, undefined);
  }
  const wanted = ['call.intent', 'call.receipt', 'policy.denied', 'call.receipt'];
  assert.deepEqual(kinds, ['ledger.opened', ...wanted]);
});

test('[TOOL-02] arguments that break the contract are refused with the field named', async (t) => {
  const { run, verify, device } = await started(t);
  const result = await run('fs.read', { path: '/a', length: -1 });
  assertEnds(result, 'failed', 'tool.arguments_invalid');
  assert.match(result.error!.message, /length/);
  assert.equal(verify(result.receiptJson).value?.receipt.errorId, 'tool.arguments_invalid');
  assert.equal(device.executions.size, 0);
});

test('[TOOL-02] arguments of a tool without a contract are checked by the catalog', async (t) => {
  const inputSchema = {
    type: 'object',
    required: ['city'],
    properties: { city: { type: 'string' } },
  };
  const weather = { name: 'web.weather', inputSchema, handler: async () => ({ content: [] }) };
  const { run } = await started(t, { tools: [weather] });
  assertEnds(await run('web.weather', { city: 'Ulm' }), 'done');
  const refused = await run('web.weather', {});
  assertEnds(refused, 'failed', 'tool.arguments_invalid');
  assert.match(refused.error!.message, /city/);
});

test('[TOOL-02] a result that breaks the contract is withheld, and the error names the field', async (t) => {
  const broken = fileOf('hello');
  const handler = async () => ({
    ...broken,
    structuredContent: { ...broken.structuredContent, size: 'large' },
  });
  const { run, verify } = await started(t, { tools: [{ ...readTool(), handler }] });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'failed', 'tool.result_invalid');
  assert.match(result.error!.message, /size/);
  assert.equal(result.resultJson, '');
  assert.equal(verify(result.receiptJson).value?.device?.outcome, 'done');
});

test("a result marked as an error fails the call with the tool's message", async (t) => {
  const handler = async () => ({
    isError: true,
    content: [{ type: 'text', text: 'disk on fire' }],
  });
  const { run } = await started(t, { tools: [{ ...readTool(), handler }] });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'failed', 'tool.failed');
  assert.match(result.error!.message, /disk on fire/);
});

test('a failure on the device keeps its id', async (t) => {
  const handler = async () => {
    throw new ZlError('fs.outside_roots', '/etc is outside');
  };
  const { run, verify } = await started(t, { tools: [{ ...readTool(), handler }] });
  const result = await run('fs.read', { path: '/etc/shadow' });
  assertEnds(result, 'failed', 'fs.outside_roots');
  assert.equal(verify(result.receiptJson).value?.device?.errorId, 'fs.outside_roots');
});

test('[POL-04] a call the policy denies is not sent, and has its receipt', async (t) => {
  const rules = [
    {
      id: 'home',
      effect: 'allow',
      tools: ['fs.read'],
      paths: { argument: 'path', within: ['/home'] },
    },
  ] as const;
  const { run, toolbox, verify, relay } = await started(t, { rules });
  assert.deepEqual(
    toolbox.tools.map(({ name }) => name),
    ['fs.read'],
  );
  const result = await run('fs.read', { path: '/etc/shadow' });
  assertEnds(result, 'denied', 'policy.denied');
  assert.equal(verify(result.receiptJson).value?.receipt.outcome, 'denied');
  assert.equal(relay.seen.includes(FrameKind.CALL), false);
  assertEnds(await run('fs.read', { path: '/home/a' }), 'done');
});

test('[POL-01] a denial is in the ledger with the rule that made it', async (t) => {
  const rules = [{ id: 'no-reads', effect: 'deny', tools: ['fs.read'] }] as const;
  const { run, ledger, ledgerDir } = await started(t, { rules });
  assertEnds(await run('fs.read', { path: '/a' }), 'denied', 'policy.denied');
  await ledger.close();
  const denials: unknown[] = [];
  for await (const { record } of readLedger(ledgerDir)) {
    if (record.kind === 'policy.denied') denials.push(record.body.ruleId);
  }
  assert.deepEqual(denials, ['no-reads']);
});

test('[POL-01] a call that needs an approval is denied, and recorded with its rule', async (t) => {
  const approvers = { roles: ['owner'] };
  const rules = [
    { id: 'all', effect: 'allow', tools: ['*'] },
    { id: 'ask', effect: 'escalate', tools: ['fs.read'], approvers },
  ] as const;
  const { run, relay, ledger, ledgerDir } = await started(t, { rules });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'denied', 'policy.denied');
  assert.match(result.error?.message ?? '', /needs an approval, which this version cannot ask for/);
  assert.equal(relay.seen.includes(FrameKind.CALL), false);
  await ledger.close();
  const denials: unknown[] = [];
  for await (const { record } of readLedger(ledgerDir)) {
    if (record.kind === 'policy.denied') denials.push(record.body.ruleId);
  }
  assert.deepEqual(denials, ['ask']);
});

test('[POL-01] a call of a revoked device is denied before it is sent', async (t) => {
  const revokedDevices = [{ tenant: SCOPE.identity.tenant, device: SCOPE.deviceId }];
  const { run, relay } = await started(t, { revokedDevices });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'denied', 'policy.denied');
  assert.match(result.error?.message ?? '', /device laptop is revoked/);
  assert.equal(relay.seen.includes(FrameKind.CALL), false);
});

test('[POL-01] the model does not see tools it may not use', async (t) => {
  const rules = [{ id: 'read', effect: 'allow', tools: ['fs.*'] }] as const;
  const { toolbox, run } = await started(t, { tools: [readTool(), stuckTool('shell.run')], rules });
  assert.deepEqual(
    toolbox.tools.map(({ name }) => name),
    ['fs.read'],
  );
  assertEnds(await run('shell.run', {}), 'denied', 'policy.denied');
});

test('[POL-01] calls per turn are capped', async (t) => {
  const rules = [{ id: 'two', effect: 'allow', tools: ['*'], caps: { callsPerTurn: 2 } }] as const;
  const { run, toolboxes } = await started(t, { rules });
  const results = [];
  for (const path of ['/a', '/b', '/c']) results.push((await run('fs.read', { path })).outcome);
  assert.deepEqual(results, ['done', 'done', 'denied']);
  const next = await toolboxes.open({ ...SCOPE, turnId: 'turn-2' }, never);
  const again = await next
    .prepare('fs.read', readArguments('{"path":"/d"}'))
    .run({ signal: never });
  assertEnds(again, 'done');
});

test('the host bounds the calls of a turn whatever the policy says', async (t) => {
  const { run } = await started(t, { limits: { callsPerTurn: 1 } });
  assertEnds(await run('fs.read', { path: '/a' }), 'done');
  assertEnds(await run('fs.read', { path: '/b' }), 'denied', 'policy.denied');
});

test('[HOST-07] toolboxes of nested turns count into the caps of the outer turn', async (t) => {
  const rules = [{ id: 'two', effect: 'allow', tools: ['*'], caps: { callsPerTurn: 2 } }] as const;
  for (const options of [{ rules }, { limits: { callsPerTurn: 2 } }]) {
    const { toolboxes } = await started(t, options);
    const counts = new Map();
    const outcomes: string[] = [];
    for (const turnId of ['outer', 'nested', 'nested-in-nested']) {
      const toolbox = await toolboxes.open({ ...SCOPE, turnId }, never, { counts });
      const call = toolbox.prepare('fs.read', readArguments('{"path":"/a"}'));
      outcomes.push((await call.run({ signal: never })).outcome);
    }
    assert.deepEqual(outcomes, ['done', 'done', 'denied']);
  }
});

test('a tool that the device does not have is unknown, with a receipt', async (t) => {
  const { run, verify } = await started(t);
  const result = await run('fs.write', {});
  assertEnds(result, 'failed', 'tool.unknown');
  assert.equal(verify(result.receiptJson).error, undefined);
});

test('calls with unreadable arguments or names still get receipts', async (t) => {
  const { toolbox, verify } = await started(t);
  for (const [tool, words] of [
    ['fs.read', '{"path"'],
    ['fs.read', '"\\ud800"'],
    ['', '{}'],
    ['\ud800'.repeat(5000), '{}'],
  ]) {
    const call = toolbox.prepare(tool!, readArguments(words!));
    const result = await call.run({ signal: never });
    assert.equal(result.outcome, 'failed');
    assert.equal(verify(result.receiptJson).error, undefined);
    assert.doesNotThrow(() => JSON.parse(call.argumentsJson));
  }
});

test('a turn without a device has an empty toolbox', async (t) => {
  const { toolboxes } = await started(t);
  const toolbox = await toolboxes.open({ ...SCOPE, deviceId: '' }, never);
  assert.deepEqual(toolbox.tools, []);
  const result = await toolbox
    .prepare('fs.read', readArguments('{"path":"/a"}'))
    .run({ signal: never });
  assertEnds(result, 'failed', 'tool.unknown');
});

test('[RED-01] masks secrets in arguments and results', async (t) => {
  const secret = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`;
  const { toolbox } = await started(t, {
    tools: [readTool(secret)],
  });
  const call = toolbox.prepare('fs.read', readArguments(JSON.stringify({ path: `/${secret}` })));
  const result = await call.run({ signal: never });
  assertEnds(result, 'done');
  assert.doesNotMatch(call.argumentsJson, new RegExp(secret));
  assert.doesNotMatch(result.resultJson, new RegExp(secret));
});

test('[HOST-05] a cancelled call stops on the device and ends as cancelled with both signatures', async (t) => {
  const { run, device, verify } = await started(t, { tools: [stuckTool()] });
  const abort = new AbortController();
  const running = run('slow.wait', {}, abort.signal);
  await eventually(() => device.running === 1);
  abort.abort();
  const result = await running;
  assertEnds(result, 'cancelled', 'call.cancelled');
  assert.equal(verify(result.receiptJson).value?.device?.outcome, 'cancelled');
  await eventually(() => device.running === 0);
});

test('[HOST-05] a call cancelled before it was sent never reaches the device', async (t) => {
  const { run, device, verify } = await started(t);
  const result = await run('fs.read', { path: '/a' }, AbortSignal.abort());
  assertEnds(result, 'cancelled', 'call.cancelled');
  assert.equal(verify(result.receiptJson).error, undefined);
  assert.equal(device.executions.size, 0);
});

test('a call that takes too long is stopped at its deadline and failed', async (t) => {
  const { run, verify, device } = await started(t, {
    tools: [stuckTool()],
    limits: { timeoutMs: 1000, graceMs: 5000 },
  });
  const result = await run('slow.wait', {});
  assertEnds(result, 'failed', 'tool.timeout');
  assert.equal(verify(result.receiptJson).error, undefined);
  await eventually(() => device.running === 0);
});

test('a device that never answers leaves the outcome unknown, with a receipt', async (t) => {
  const { run, verify, relay } = await started(t, {
    tools: [stuckTool()],
    limits: { timeoutMs: 1000, graceMs: 20 },
  });
  relay.tamper = (frame, direction) => (direction === 'to host' ? [] : [frame]);
  const result = await run('slow.wait', {});
  assertEnds(result, 'unknown', 'call.unknown_outcome');
  assert.equal(verify(result.receiptJson).value?.receipt.outcome, 'unknown');
});
