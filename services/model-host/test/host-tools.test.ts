import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import { readLedger, verifyLedger } from '@zerolatency/ledger';
import { verifierFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import type { ExecutionContext, Executor } from '../src/calls/ports.ts';
import type { ToolCallProgress } from '../src/ports.ts';
import { readArguments } from '../src/turn/tool-step.ts';
import { clockNow, type HostTool, hostExecutor } from './host-tools.ts';
import { assertEnds, started } from './relay/started.ts';
import { never, SCOPE } from './relay/tool-world.ts';

const executors = [hostExecutor(clockNow)];

test('[TOOL-04] a tool of the host runs without a device, with a receipt that says so', async (t) => {
  const { toolboxes, verify } = await started(t, { executors });
  const toolbox = await toolboxes.open({ ...SCOPE, deviceId: '' }, never);
  assert.deepEqual(
    toolbox.tools.map(({ name }) => name),
    ['clock.now'],
  );
  const call = toolbox.prepare('clock.now', readArguments('{"zone":"UTC"}'));
  const result = await call.run({ signal: never });
  assertEnds(result, 'done');
  assert.match(result.text, /"time":"\d{4}-/);
  assert.equal(verify(result.receiptJson).value?.receipt.executor, 'host');
});

test('[TOOL-04] [AUD-02] the intent and receipt of a tool of the host verify, and so does the ledger', async (t) => {
  const { run, verify, ledger, ledgerDir, key } = await started(t, { executors });
  const { receiptJson, ...result } = await run('clock.now', {});
  assertEnds({ receiptJson, ...result }, 'done');
  const { value, error } = verify(receiptJson);
  assert.equal(error, undefined);
  assert.equal(value?.receipt.executor, 'host');
  assert.equal(value?.receipt.toolVersion, '1.0.0');
  assert.equal(value?.receipt.deviceId, undefined);
  assert.equal(value?.device, undefined);
  await ledger.close();
  const kinds: string[] = [];
  for await (const { record } of readLedger(ledgerDir)) {
    if (record.kind === 'call.intent') assert.equal(record.body.executor, 'host');
    if (record.kind.startsWith('call.')) kinds.push(record.kind);
  }
  assert.deepEqual(kinds, ['call.intent', 'call.receipt']);
  const verdict = await verifyLedger(ledgerDir, { keys: [verifierFromPem(key.publicPem)] });
  assert.equal(verdict.firstBad, undefined);
  assert.equal(verdict.ok, true);
});

test('[AUD-02] the outcome of a call is known before its receipt is durable, and its result after', async (t) => {
  const { toolboxes, ledger } = await started(t, { executors });
  const toolbox = await toolboxes.open({ ...SCOPE, deviceId: '' }, never);
  const call = toolbox.prepare('clock.now', readArguments('{}'));
  const settled: { outcome: string; records: number }[] = [];
  const result = await call.run({
    signal: never,
    onSettled: ({ outcome }) => settled.push({ outcome, records: ledger.size }),
  });
  assertEnds(result, 'done');
  assert.equal(settled.length, 1);
  assert.equal(settled[0]?.outcome, 'done');
  assert.ok(ledger.size > (settled[0]?.records ?? 0));
});

test('[POL-01] [TOOL-02] policy and contract hold for a tool of the host', async (t) => {
  const rules = [{ id: 'no-clock', effect: 'deny', tools: ['clock.*'] }] as const;
  const denied = await started(t, { executors, rules });
  assert.deepEqual(denied.toolbox.tools, []);
  assertEnds(await denied.run('clock.now', {}), 'denied', 'policy.denied');
  const { run } = await started(t, { executors });
  assertEnds(await run('clock.now', { zone: 'Mars' }), 'failed', 'tool.arguments_invalid');
  const broken = { ...clockNow, run: () => ({ time: 7 }) };
  const { run: runBroken } = await started(t, { executors: [hostExecutor(broken)] });
  assertEnds(await runBroken('clock.now', {}), 'failed', 'tool.result_invalid');
});

test('a tool of the host is stopped at its deadline, and by a cancel', async (t) => {
  const stuck: HostTool = {
    ...clockNow,
    run: (_args, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  const options = { executors: [hostExecutor(stuck)], limits: { timeoutMs: 50 } };
  const { run, verify } = await started(t, options);
  const late = await run('clock.now', {});
  assertEnds(late, 'failed', 'tool.timeout');
  assert.equal(verify(late.receiptJson).value?.receipt.outcome, 'failed');
  const { run: runLong } = await started(t, { executors: options.executors });
  const abort = new AbortController();
  const running = runLong('clock.now', {}, abort.signal);
  abort.abort();
  assertEnds(await running, 'cancelled', 'call.cancelled');
});

test('a tool of the host that does not stop leaves the outcome unknown', async (t) => {
  const deaf: HostTool = { ...clockNow, run: () => new Promise(() => {}) };
  const limits = { timeoutMs: 50, graceMs: 10 };
  const { run, verify } = await started(t, { executors: [hostExecutor(deaf)], limits });
  const result = await run('clock.now', {});
  assertEnds(result, 'unknown', 'call.unknown_outcome');
  assert.equal(verify(result.receiptJson).value?.receipt.outcome, 'unknown');
});

test('a tool of the host that throws fails with its error, and its secret masked', async (t) => {
  const secret = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`;
  const broken: HostTool = {
    ...clockNow,
    run: () => {
      throw new ZlError('tool.failed', `no access with ${secret}`);
    },
  };
  const { run } = await started(t, { executors: [hostExecutor(broken)] });
  const result = await run('clock.now', {});
  assertEnds(result, 'failed', 'tool.failed');
  assert.doesNotMatch(result.error!.message, new RegExp(secret));
});

const GHP_SECRET = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`;

test('[TOOL-04] a tool of the host that goes on after its call records, reports and starts nothing', async (t) => {
  let late: ExecutionContext | undefined;
  const deaf: HostTool = {
    ...clockNow,
    run: (_args, context) => {
      late = context;
      return new Promise(() => {});
    },
  };
  const limits = { timeoutMs: 50, graceMs: 10 };
  const { toolbox, ledger } = await started(t, { executors: [hostExecutor(deaf)], limits });
  const reports: unknown[] = [];
  const turns: AbortSignal[] = [];
  const call = toolbox.prepare('clock.now', readArguments('{}'));
  const running = call.run({
    signal: never,
    onProgress: (progress) => reports.push(progress),
    startTurn: async (_text, signal) => {
      turns.push(signal);
      return { outcome: 'done', happened: 'nothing', text: '' };
    },
  });
  await eventually(() => late !== undefined);
  const notMine = AbortSignal.any([]);
  await late!.startTurn!({ text: 'before the deadline' }, notMine);
  assertEnds(await running, 'unknown', 'call.unknown_outcome');
  assert.equal(turns[0]?.aborted, true);
  late!.onProgress!({ receivedBytes: 1, message: 'late' });
  assert.deepEqual(reports, []);
  assert.throws(() => late!.intend(), { id: 'call.cancelled' });
  await assert.rejects(late!.startTurn!({ text: 'late' }, notMine), { id: 'call.cancelled' });
  assert.equal(turns.length, 1);
  assert.deepEqual(ledger.openIntents(), []);
});

test('a tool that floods its call with progress gets a few reports a second through', async (t) => {
  const loud: HostTool = {
    ...clockNow,
    run: async (_args, { onProgress, nowMs }) => {
      for (let i = 0; i < 10_000; i += 1) {
        onProgress?.({ receivedBytes: 0, progress: i, message: `with ${GHP_SECRET}` });
      }
      await setImmediate();
      return clockNow.run({}, { nowMs } as ExecutionContext);
    },
  };
  const { toolbox } = await started(t, { executors: [hostExecutor(loud)] });
  const reports: string[] = [];
  const call = toolbox.prepare('clock.now', readArguments('{}'));
  const onProgress = ({ message = '' }: ToolCallProgress) => reports.push(message);
  assertEnds(await call.run({ signal: never, onProgress }), 'done');
  assert.ok(reports.length > 0 && reports.length < 1000, `${reports.length} reports`);
  assert.equal(reports.join().includes(GHP_SECRET), false);
});

test('an error of a tool that is too long is masked before it is cut', async (t) => {
  const text = `${'x'.repeat(1980)} ${GHP_SECRET}`;
  const broken: Executor = {
    open: async () => ({
      ...(await hostExecutor(clockNow).open(SCOPE, never)),
      execute: async () => ({
        outcome: 'done',
        result: { isError: true, content: [{ type: 'text', text }] },
        ...{ wasSent: true, remoteUs: 0, deviceUs: 0, serverUs: 0 },
      }),
    }),
    recover: () => undefined,
  };
  const { run } = await started(t, { executors: [broken] });
  const { error } = await run('clock.now', {});
  assert.equal(error?.id, 'tool.failed');
  assert.doesNotMatch(error!.message, /ghp_/);
});
