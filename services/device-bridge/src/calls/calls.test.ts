import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import type { CallProgress } from '@zerolatency/call';
import type { ManifestServer } from '@zerolatency/manifest';
import type { Behaviour } from '@zerolatency/mcp/testing';
import type { Rule } from '@zerolatency/policy';
import { argumentsDigest, type Receipt, verifyDeviceReceipt } from '@zerolatency/receipts';
import { canonicalJson, verifierFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import { ALLOW_ALL, runRig } from '../../test/bridge-rig.ts';
import type { Answer } from '../../test/fake-host.ts';
import { fixtureSpec, fsSpec } from '../../test/manifests.ts';

/** As packages/mcp has it. */
const PROGRESS_INTERVAL_MS = 200;

type Spans = { name: string; traceId: string; parent: string | undefined; outcome: unknown }[];

async function withFs(t: TestContext, options: Partial<Parameters<typeof runRig>[1]> = {}) {
  const rig = await runRig(t, { servers: (root) => [fsSpec(root)], ...options });
  await rig.relay.offering('fs.read');
  return rig;
}

async function withFixture(
  t: TestContext,
  behaviour: Behaviour,
  more: Partial<ManifestServer> = {},
  rules: readonly Rule[] = [ALLOW_ALL],
) {
  const spec = fixtureSpec(behaviour, { effects: { echo: 'none' }, ...more });
  const rig = await runRig(t, { servers: () => [spec], rules });
  await rig.relay.offering(`${behaviour}.echo`);
  const call = (asked = {}) => rig.host.call({ server: behaviour, tool: 'echo', ...asked });
  return { ...rig, call };
}

/** The receipt of an answer, its signature verified. */
function receiptOf(answer: Answer, rig: { device: { key: { publicPem: string } } }): Receipt {
  const envelope = Buffer.from(answer.receipt).toString('utf8');
  const deviceKeys = [verifierFromPem(rig.device.key.publicPem)];
  const verdict = verifyDeviceReceipt({ envelope, deviceKeys });
  assert.ok('value' in verdict && verdict.value, JSON.stringify(verdict));
  return verdict.value;
}

function assertEnded(answer: Answer, status: Answer['status'], id?: string): void {
  assert.deepEqual([answer.status, answer.error?.id], [status, id], answer.error?.message);
}

test('[BRG-03] a file is read end to end, and the device signs a receipt for it', async (t) => {
  const rig = await withFs(t);
  const argumentSalt = Buffer.alloc(16, 7);
  const args = { path: 'hello.txt' };
  const answer = await rig.host.call({ args, argumentSalt });
  assertEnded(answer, 'done');
  const path = join(rig.root, 'hello.txt');
  const result = { path, size: 5, offset: 0, length: 5, encoding: 'text', content: 'hello' };
  assert.deepEqual(answer.json.structuredContent, { ...result, truncated: false });
  const receipt = receiptOf(answer, rig);
  assert.equal(receipt.role, 'device');
  assert.equal(receipt.callId, answer.callId);
  assert.equal(receipt.tool, 'fs.read');
  assert.equal(receipt.argumentsDigest, argumentsDigest(argumentSalt, canonicalJson(args)));
  assert.equal(receipt.resultDigest, `sha256:${Buffer.from(answer.resultDigest).toString('hex')}`);
  assert.equal(receipt.deviceId, 'laptop');
  assert.equal(receipt.policyId, 'test@1');
  assert.deepEqual([receipt.outcome, receipt.tenant, receipt.user], ['done', 'north', 'user-1']);
  assert.ok(answer.deviceUs >= answer.serverUs && answer.serverUs > 0);
  const metrics = await text(createConnection(join(rig.config.stateDir, 'metrics.sock')));
  const [, seconds] = /^zl_bridge_call_duration_seconds_sum\S* (\S+)$/m.exec(metrics) ?? [];
  assert.equal(Number(seconds), answer.deviceUs / 1e6);
});

test('[BRG-03] a refusal of fs.read is a failed call with its own error', async (t) => {
  const rig = await withFs(t);
  execFileSync('mkfifo', [join(rig.root, 'fifo')]);
  writeFileSync(join(rig.root, 'binary'), Buffer.from([0xff]));
  const cases = {
    'fs.outside_roots': { path: '/etc/passwd' },
    'fs.not_regular': { path: 'fifo' },
    'fs.not_found': { path: 'none' },
    'fs.not_text': { path: 'binary', encoding: 'text' },
    'tool.arguments_invalid': { path: 'hello.txt', offset: -1 },
  };
  for (const [id, args] of Object.entries(cases)) {
    const answer = await rig.host.call({ args });
    assertEnded(answer, 'failed', id);
    assert.equal(receiptOf(answer, rig).errorId, id);
  }
});

test('[BRG-03] a file over the limit of the caller is truncated and marked so', async (t) => {
  const { host, root } = await withFs(t);
  truncateSync(join(root, 'hello.txt'), 10 * 1024 ** 3);
  const answer = await host.call({ args: { path: 'hello.txt' }, maxBytes: 50_000 });
  assertEnded(answer, 'done');
  assert.ok(Buffer.byteLength(answer.text) <= 50_000);
  assert.equal(answer.json.structuredContent?.truncated, true);
  assert.equal(answer.json.structuredContent?.size, 10 * 1024 ** 3);
});

test('[BRG-03] a file over the limit of the device is truncated and marked so', async (t) => {
  const { host, root } = await withFs(t, { settings: { 'calls.maxResult': '50KiB' } });
  truncateSync(join(root, 'hello.txt'), 1024 ** 2);
  const answer = await host.call({ args: { path: 'hello.txt' } });
  assertEnded(answer, 'done');
  assert.equal(answer.json.structuredContent?.truncated, true);
});

test('[POL-04] the device denies what its own bundle denies, whatever the host decided', async (t) => {
  const deny: Rule = {
    id: 'private',
    effect: 'deny',
    tools: ['fs.read'],
    paths: { argument: 'path', within: ['/private'] },
  };
  const rig = await withFs(t, { rules: [ALLOW_ALL, deny] });
  const answer = await rig.host.call({ args: { path: '/private/key' } });
  assertEnded(answer, 'denied', 'policy.denied');
  const receipt = receiptOf(answer, rig);
  assert.deepEqual([receipt.outcome, receipt.errorId], ['denied', 'policy.denied']);
  const path = join(rig.root, 'hello.txt');
  assertEnded(await rig.host.call({ args: { path } }), 'done');
});

test('[POL-04] the device denies a call that needs an approval, and every call once it is revoked', async (t) => {
  const ask: Rule = {
    id: 'ask',
    effect: 'escalate',
    tools: ['fs.*'],
    approvers: { users: ['owner'] },
  };
  const rig = await withFs(t, { rules: [ALLOW_ALL, ask] });
  const escalated = await rig.host.call({ args: { path: 'hello.txt' } });
  assertEnded(escalated, 'denied', 'policy.denied');
  assert.match(escalated.error?.message ?? '', /needs an approval/);
  assert.equal(receiptOf(escalated, rig).outcome, 'denied');
  const revokedDevices = [{ tenant: 'north', device: 'laptop' }];
  await rig.install({ version: 2, revokedDevices });
  await eventually(() => rig.bridge.status().policy.policyId === 'test@2');
  const revoked = await rig.host.call({ args: { path: 'hello.txt' } });
  assertEnded(revoked, 'denied', 'policy.denied');
  assert.match(revoked.error?.message ?? '', /device laptop is revoked/);
});

test('[POL-04] a host of another tenant is denied, however wide the bundle is', async (t) => {
  const rig = await withFs(t);
  for (const tenant of ['other', '']) {
    const answer = await rig.host.call({ args: { path: 'hello.txt' }, principal: { tenant } });
    assertEnded(answer, 'denied', 'policy.denied');
    assert.match(answer.error?.message ?? '', /belongs to tenant north/);
    assert.equal(receiptOf(answer, rig).outcome, 'denied');
  }
});

test('[POL-04] a new bundle applies at once, and an older one cannot come back', async (t) => {
  const rig = await withFs(t);
  const read = () => rig.host.call({ args: { path: 'hello.txt' } });
  assertEnded(await read(), 'done');
  await rig.install({ version: 3, rules: [] });
  await eventually(async () => (await read()).status === 'denied');
  await rig.install({ version: 2, rules: [ALLOW_ALL] });
  const { policy } = rig.bridge.status();
  assert.equal(policy.state === 'active' && policy.policyId, 'test@3');
  assertEnded(await read(), 'denied', 'policy.denied');
});

test('[POL-04] without a bundle in force every tool is denied', async (t) => {
  const nowMs = Date.now();
  const rig = await withFs(t, { bundle: { expiresAt: new Date(nowMs + 2000).toISOString() } });
  const ended = await eventually(async () => {
    const answer = await rig.host.call({ args: { path: 'hello.txt' } });
    return answer.status === 'denied' ? answer : undefined;
  });
  assertEnded(ended, 'denied', 'policy.unavailable');
  assert.equal(rig.bridge.status().state, 'live');
});

test('policy caps limit time and bytes', async (t) => {
  const slow: Rule = { ...ALLOW_ALL, caps: { timeoutMs: 50 } };
  const hangs = await withFixture(t, 'hangs-on-call', {}, [slow]);
  assertEnded(await hangs.call(), 'failed', 'tool.timeout');
  const small: Rule = { ...ALLOW_ALL, caps: { maxBytes: 1000 } };
  const big = await withFixture(t, 'answers-big', {}, [small]);
  const answer = await big.call();
  assertEnded(answer, 'failed', 'tool.result_too_large');
  assert.match(answer.error?.message ?? '', / 1000 are allowed by maxBytes of the policy$/);
  assert.deepEqual(receiptOf(answer, big).caps, { maxBytes: 1000 });
});

test('tool progress reaches the caller at a limited rate', async (t) => {
  const { call } = await withFixture(t, 'reports-progress');
  const reports: CallProgress[] = [];
  const startMs = performance.now();
  assertEnded(await call({ onProgress: (report: CallProgress) => reports.push(report) }), 'done');
  assert.deepEqual(reports.at(-1), { progress: 1_000, total: 1_000, message: 'copies' });
  // The first and the last, and between them one each interval.
  const most = 2 + (performance.now() - startMs) / PROGRESS_INTERVAL_MS;
  assert.ok(reports.length <= most, `${reports.length} reports, and ${most} at most`);
});

test('a result of many frames arrives complete', async (t) => {
  const { call } = await withFixture(t, 'answers-big');
  const answer = await call();
  assertEnded(answer, 'done');
  assert.equal(answer.json.content?.[0]?.text?.length, 300_000);
});

test('a tool that the device does not offer is unknown, and malformed arguments are invalid', async (t) => {
  const rig = await withFixture(t, 'well');
  assertEnded(await rig.call({ server: 'none' }), 'failed', 'tool.unknown');
  assertEnded(await rig.call({ tool: 'none' }), 'failed', 'tool.unknown');
  assertEnded(await rig.call({ method: 'resources/list' }), 'failed', 'tool.unknown');
  for (const params of ['rubbish', '7', '{}', '{"name":7}', '{"arguments":[],"name":"echo"}']) {
    const answer = await rig.call({ params: Buffer.from(params) });
    assertEnded(answer, 'failed', 'tool.arguments_invalid');
    receiptOf(answer, rig);
  }
});

test('a cancelled call ends on the server too, and its receipt says cancelled', async (t) => {
  const rig = await withFixture(t, 'hangs-on-call');
  const pending = rig.host.start({ server: 'hangs-on-call', tool: 'echo' });
  await eventually(() => rig.bridge.status().journal.running === 1);
  pending.cancel();
  const answer = await pending.answer;
  assertEnded(answer, 'cancelled', 'call.cancelled');
  assert.equal(receiptOf(answer, rig).outcome, 'cancelled');
  assert.equal(rig.bridge.status().servers[0]?.state, 'ready');
});

test("the caller's deadline ends a call that hangs", async (t) => {
  const { call } = await withFixture(t, 'hangs-on-call');
  assertEnded(await call({ timeoutMs: 300 }), 'failed', 'tool.timeout');
});

for (const [behaviour, id] of [
  ['exits-on-call', 'tool.server_down'],
  ['floods-without-newline', 'tool.server_protocol'],
  ['floods-with-lines', 'tool.server_protocol'],
] as const) {
  test(`[BRG-02] a server that ${behaviour.replaceAll('-', ' ')} fails the call and comes back`, async (t) => {
    const rig = await withFixture(t, behaviour);
    const pid = () => {
      const [server] = rig.bridge.status().servers;
      return server?.state === 'ready' ? server.pid : undefined;
    };
    const before = pid();
    const answer = await rig.call();
    assertEnded(answer, 'failed', id);
    assert.equal(receiptOf(answer, rig).errorId, id);
    await eventually(() => pid() !== undefined && pid() !== before);
  });
}

for (const [maxResult, setBy] of [
  ['50KiB', /calls\.maxResult of the bridge/],
  ['16MiB', /allowed by the host \(tools\.maxResult/],
] as const) {
  test(`[BRG-02] a result of 20 MB where ${maxResult} are allowed ends its call and no other`, async (t) => {
    const huge = fixtureSpec('prints-a-huge-line', { effects: { echo: 'none' } });
    const rig = await runRig(t, {
      servers: () => [huge],
      settings: { 'calls.maxResult': maxResult },
    });
    await rig.relay.offering('prints-a-huge-line.echo');
    const [before] = rig.bridge.status().servers;
    const call = () => rig.host.call({ server: 'prints-a-huge-line', tool: 'echo' });
    for (const answer of await Promise.all([call(), call()])) {
      assertEnded(answer, 'failed', 'tool.result_too_large');
      assert.match(answer.error?.message ?? '', setBy);
      assert.equal(receiptOf(answer, rig).errorId, 'tool.result_too_large');
    }
    assert.deepEqual(rig.bridge.status().servers, [before]);
  });
}

test('a result within the limit passes though its server escapes every letter', async (t) => {
  const { call } = await withFixture(t, 'escapes-its-letters');
  const answer = await call({ maxBytes: 16 * 1024 * 1024 });
  assertEnded(answer, 'done');
  assert.equal(JSON.stringify(answer.json).match(/é/g)?.length, 5_000_000);
});

test('a server that exits during a call that may have had effects leaves its outcome unknown', async (t) => {
  const { call } = await withFixture(t, 'exits-on-call', { effects: {} });
  assertEnded(await call(), 'unknown', 'call.unknown_outcome');
});

test('a tool that reports an error cannot claim a policy denial', async (t) => {
  const { call } = await withFixture(t, 'reports-an-error');
  const answer = await call();
  assertEnded(answer, 'failed', 'tool.failed');
  assert.equal(answer.error?.message, 'it is broken');
});

test('calls beyond the limit of a server wait for each other', async (t) => {
  const { call } = await withFixture(t, 'is-slow', { limits: { maxConcurrentCalls: 2 } });
  const answers = await Promise.all([1, 2, 3, 4, 5].map(() => call()));
  for (const answer of answers) assertEnded(answer, 'done');
});

test('[BRG-01] a call outlives its connection, and runs once', async (t) => {
  const rig = await withFixture(t, 'is-slow');
  const pending = rig.host.start({ server: 'is-slow', tool: 'echo' });
  await eventually(() => rig.bridge.status().journal.running === 1);
  rig.relay.cut();
  const answer = await pending.answer;
  assertEnded(answer, 'done');
  assert.ok(rig.relay.hellos > 1);
  const again = await rig.call();
  assert.equal(JSON.parse(again.json.content?.[0]?.text ?? '').callCount, 2);
});

test('[BRG-01] a bridge that is forced to stop does not wait for a call that hangs', async (t) => {
  const rig = await withFixture(t, 'hangs-on-call');
  rig.host.start({ server: 'hangs-on-call', tool: 'echo' });
  await eventually(() => rig.bridge.status().journal.running === 1);
  await rig.lifecycle.shutdown({ reason: 'test', deadlineMs: 0 });
  assert.deepEqual(rig.lifecycle.failures, []);
});

test('[OBS-01] the trace continues through the bridge into the server', async (t) => {
  const spans: Spans = [];
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const parent = 'b7ad6b7169203331';
  const rig = await runRig(t, {
    servers: () => [fixtureSpec('well')],
    onSpan: (span) => {
      const { traceId } = span.spanContext();
      const { name, parentSpanContext, attributes } = span;
      spans.push({ name, traceId, parent: parentSpanContext?.spanId, outcome: attributes.outcome });
    },
  });
  await rig.relay.offering('well.echo');
  const traceparent = `00-${traceId}-${parent}-01`;
  const answer = await rig.host.call({ server: 'well', tool: 'echo', traceparent });
  assert.deepEqual(spans, [{ name: 'bridge.call', traceId, parent, outcome: 'done' }]);
  const { params } = JSON.parse(answer.json.content?.[0]?.text ?? '');
  assert.match(
    params._meta.traceparent,
    new RegExp(`^00-${traceId}-(?!${parent})[0-9a-f]{16}-01$`),
  );
});

test('a name too long for a receipt fails its call and not the bridge', async (t) => {
  const rig = await withFixture(t, 'well');
  const astral = '\u{1f600}'.repeat(200);
  for (const name of ['\ud800', astral, `x${astral}`]) {
    const params = Buffer.from(JSON.stringify({ name, arguments: {} }));
    const answer = await rig.call({ params });
    assertEnded(answer, 'failed', 'tool.arguments_invalid');
    receiptOf(answer, rig);
  }
  for (const server of [astral, `x${astral}`]) {
    receiptOf(await rig.call({ server }), rig);
  }
  for (const user of [astral, `x${astral}`]) {
    const answer = await rig.call({ principal: { user } });
    assertEnded(answer, 'done');
    receiptOf(answer, rig);
  }
});
