import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { MemoryJournal } from '@zerolatency/call';
import { ZlError } from '@zerolatency/errors';
import { type Frame, FrameKind } from '@zerolatency/frame';
import { NotSeenSchema, RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { eventually } from '@zerolatency/testing';
import { heldTool, readTool, stuckTool } from '../../../test/relay/offered-tools.ts';
import { NO_RELAY_METRICS } from '../../../test/relay/relay-world.ts';
import { assertEnds, started } from '../../../test/relay/started.ts';
import { ToolDevice } from '../../../test/relay/tool-device.ts';
import { never, SCOPE, toolWorld } from '../../../test/relay/tool-world.ts';
import { DEFAULT_RELAY_LIMITS } from '../../adapters/relay/limits.ts';
import { readArguments } from '../../turn/tool-step.ts';

test('[RLY-04] a call whose route is lost during the result resumes on another relay and runs once', async (t) => {
  const text = 'x'.repeat(400_000);
  const { run, relay, other, device, verify } = await started(t, { tools: [readTool(text)] });
  let passed = 0;
  relay.tamper = (frame, direction) => {
    if (direction === 'to device' || frame.kind !== FrameKind.DATA) return [frame];
    passed += 1;
    if (passed === 2) {
      setImmediate(() => {
        relay.disconnect(device);
        other.connect(device);
      });
    }
    return passed <= 2 ? [frame] : [];
  };
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'done');
  assert.equal(JSON.parse(result.resultJson).structuredContent.content, text);
  assert.equal(verify(result.receiptJson).error, undefined);
  assert.deepEqual([...device.executions.values()], [1]);
});

test('[RLY-06] a call survives the death of the relay it ran through', async (t) => {
  const held = heldTool();
  const { run, relay, other, device } = await started(t, { tools: [held.tool] });
  const running = run('held.run', {});
  await eventually(() => device.running === 1);
  await relay.kill();
  other.connect(device);
  held.finish('survived');
  const result = await running;
  assertEnds(result, 'done');
  assert.match(result.resultJson, /survived/);
  assert.deepEqual([...device.executions.values()], [1]);
});

test('[RLY-05] a device whose clock is hours off runs calls within their time', async (t) => {
  const skews: number[] = [];
  const metrics = { ...NO_RELAY_METRICS, deviceSkew: (aheadMs: number) => skews.push(aheadMs) };
  for (const aheadMs of [3 * 3_600_000, -3 * 3_600_000]) {
    const { run, relay, other, device } = await started(t, { relay: { metrics } });
    relay.disconnect(device);
    device.aheadMs = aheadMs;
    other.connect(device);
    assertEnds(await run('fs.read', { path: '/a' }), 'done');
    assert.ok(Math.abs((skews.at(-1) ?? 0) - aheadMs) < 60_000, `${skews.at(-1)}`);
  }
});

test('[RLY-05] a device that states an impossible clock is not called, and the host goes on', async (t) => {
  const limits = { connectWaitMs: 2000, dialTimeoutMs: 500 };
  const { relay, other, device, toolboxes, scope } = await toolWorld(t, {
    tools: [readTool()],
    relay: { limits },
  });
  const { journalId } = device;
  const message = create(NotSeenSchema, { journalId, journalMs: 2n ** 64n - 1n });
  const payload = toBinary(NotSeenSchema, message);
  relay.tamper = (frame) => [frame.kind === FrameKind.NOT_SEEN ? { ...frame, payload } : frame];
  const open = async () => {
    const toolbox = await toolboxes.open(scope, never);
    return toolbox.prepare('fs.read', readArguments('{"path":"/a"}')).run({ signal: never });
  };
  await assert.rejects(open(), {
    id: 'device.offline',
    message: 'the device does not state its clock',
  });
  relay.disconnect(device);
  other.connect(device);
  assertEnds(await open(), 'done');
});

test('[RLY-05] a device that takes no more calls is said to be busy, and called when it has room', async (t) => {
  const limits = { connectWaitMs: 2_000 };
  const { relay, device, toolboxes, scope } = await toolWorld(t, {
    tools: [readTool()],
    relay: { limits },
  });
  const { journalId } = device;
  const message = create(RefusedSchema, { reason: RefusedReason.BUSY, journalId });
  const payload = toBinary(RefusedSchema, message);
  let isBusy = true;
  relay.tamper = (frame) => {
    if (frame.kind !== FrameKind.NOT_SEEN || !isBusy) return [frame];
    return [{ ...frame, kind: FrameKind.REFUSED, payload }];
  };
  await assert.rejects(toolboxes.open(scope, never), { id: 'limit.exceeded' });
  isBusy = false;
  await toolboxes.open(scope, never);
});

test('repeated and reordered frames change nothing', async (t) => {
  const { run, relay, device } = await started(t, { tools: [readTool('y'.repeat(200_000))] });
  let kept: Frame[] = [];
  relay.tamper = (frame, direction) => {
    if (direction === 'to device') return [frame, frame];
    kept.push(frame);
    if (kept.length < 2) return [];
    const turned = kept.toReversed();
    kept = [];
    return [...turned, ...turned];
  };
  assertEnds(await run('fs.read', { path: '/a' }), 'done');
  assert.deepEqual([...device.executions.values()], [1]);
});

test('a sent call is unknown when its device never returns', async (t) => {
  const { run, relay, device, verify } = await started(t, {
    tools: [stuckTool()],
    limits: { timeoutMs: 1000, graceMs: 50 },
  });
  const running = run('slow.wait', {});
  await eventually(() => device.running === 1);
  relay.disconnect(device);
  const result = await running;
  assertEnds(result, 'unknown', 'call.unknown_outcome');
  assert.equal(verify(result.receiptJson).error, undefined);
});

test('a call is unknown when its device returns with another journal', async (t) => {
  const { run, relay, other, device, enrol } = await started(t, { tools: [stuckTool()] });
  const running = run('slow.wait', {});
  await eventually(() => device.running === 1);
  relay.disconnect(device);
  const enrolledAgain = await enrol('laptop');
  other.connect(new ToolDevice(enrolledAgain, [stuckTool()], new MemoryJournal(randomBytes(16))));
  assertEnds(await running, 'unknown', 'call.unknown_outcome');
});

test('a call to a device that left before it was sent fails as offline, with a receipt', async (t) => {
  // No longer than the wait for a device that was just here.
  const limits = { connectWaitMs: DEFAULT_RELAY_LIMITS.reconnectWaitMs };
  const { run, relay, device, verify, devices } = await started(t, { relay: { limits } });
  relay.disconnect(device);
  await eventually(() => devices.route('north', 'laptop').connection === undefined);
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'failed', 'device.offline');
  assert.equal(verify(result.receiptJson).value?.receipt.errorId, 'device.offline');
  assert.equal(device.executions.size, 0);
});

test('opening the tools of an offline device fails with device.offline', async (t) => {
  const { toolboxes } = await toolWorld(t, { tools: [readTool()] });
  const elsewhere = { ...SCOPE, deviceId: 'phone' };
  await assert.rejects(toolboxes.open(elsewhere, never), { id: 'device.offline' });
});

test('[TOOL-04] rejects an outcome whose receipt another key signed', async (t) => {
  const { run, device, verify } = await started(t);
  device.signer = signerFromPem(generateKeyPair().privatePem);
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'unknown', 'receipt.invalid');
  assert.equal(result.resultJson, '');
  const { value, error } = verify(result.receiptJson);
  assert.equal(error, undefined);
  assert.equal(value?.device, undefined);
});

test('[TOOL-04] rejects a receipt of another call, other arguments or another result', async (t) => {
  const { run, device, verify } = await started(t);
  const lies = [
    { callId: 'f'.repeat(32) },
    { argumentsDigest: `sha256:${'0'.repeat(64)}` },
    { resultDigest: `sha256:${'0'.repeat(64)}` },
    { user: 'user-3' },
    { deviceId: 'desktop' },
    { tool: 'fs.write' },
  ] as const;
  for (const lie of lies) {
    device.forge = (receipt) => ({ ...receipt, ...lie });
    const result = await run('fs.read', { path: '/a' });
    assertEnds(result, 'unknown', 'receipt.invalid');
    assert.equal(verify(result.receiptJson).error, undefined);
  }
});

test('a result that was altered on the way does not match its digest', async (t) => {
  const { run, relay, verify } = await started(t);
  relay.tamper = (frame, direction) => {
    if (direction === 'to device' || frame.kind !== FrameKind.DATA) return [frame];
    const payload = Uint8Array.from(frame.payload);
    payload[10] = (payload[10] ?? 0) ^ 1;
    return [{ ...frame, payload }];
  };
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'failed', 'tool.result_invalid');
  assert.equal(verify(result.receiptJson).error, undefined);
});

test('the device refuses a result larger than the policy allows', async (t) => {
  const rules = [{ id: 'small', effect: 'allow', tools: ['*'], caps: { maxBytes: 1000 } }] as const;
  const { run, verify } = await started(t, { rules, tools: [readTool('z'.repeat(5000))] });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'failed', 'tool.result_too_large');
  assert.equal(verify(result.receiptJson).value?.receipt.caps.maxBytes, 1000);
});

test('no call is sent while the ledger cannot be written', async (t) => {
  const refuse = () => {
    throw new ZlError('ledger.failed', 'the disk is gone');
  };
  const { run, relay } = await started(t, {
    wrapLedger: () => ({ intend: refuse, denied: refuse, conclude: async () => refuse() }),
  });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'failed', 'ledger.failed');
  assert.equal(result.receiptJson, '');
  assert.equal(relay.seen.includes(FrameKind.CALL), false);
});

test('[RLY-05] an outcome that cannot be recorded is unknown, and the device keeps it', async (t) => {
  const { run, relay, device } = await started(t, {
    wrapLedger: (ledger) => ({
      ...ledger,
      conclude: async () => {
        throw new ZlError('ledger.failed', 'the disk is full');
      },
    }),
  });
  const result = await run('fs.read', { path: '/a' });
  assertEnds(result, 'unknown', 'call.unknown_outcome');
  assert.match(result.error!.message, /ended as done.* disk is full/);
  assert.equal(result.resultJson + result.text, '');
  assert.equal(device.executions.size, 1);
  assert.equal(relay.seen.includes(FrameKind.ACK), false);
});

test('a recorded outcome is acknowledged to the device', async (t) => {
  const { run, relay } = await started(t);
  await run('fs.read', { path: '/a' });
  await eventually(() => relay.seen.includes(FrameKind.ACK));
});

test('a call with effects is on disk before it is sent', async (t) => {
  const order: string[] = [];
  const { run, relay } = await started(t, {
    tools: [{ ...readTool(), name: 'shell.run' }],
    wrapLedger: (ledger) => ({
      ...ledger,
      intend: async (facts, intent, durable) => {
        await ledger.intend(facts, intent, durable);
        order.push(durable ? 'durable' : 'soon');
      },
    }),
  });
  relay.tamper = (frame, direction) => {
    if (direction === 'to device' && frame.kind === FrameKind.CALL) order.push('sent');
    return [frame];
  };
  assertEnds(await run('shell.run', {}), 'done');
  assert.deepEqual(order, ['durable', 'sent']);
});

test('a journal that changes before the call is sent gets a new intent', async (t) => {
  const journals: string[] = [];
  const { run, relay, other, device, devices, enrol } = await started(t, {
    tools: [{ ...readTool(), name: 'shell.run' }],
    wrapLedger: (ledger) => ({
      ...ledger,
      intend: async (facts, intent, durable) => {
        journals.push(Buffer.from(intent!.journalId).toString('hex'));
        await ledger.intend(facts, intent, durable);
        if (journals.length > 1) return;
        relay.disconnect(device);
        other.connect(again);
        await eventually(() => devices.route('north', 'laptop').connection === undefined);
      },
    }),
  });
  const again = new ToolDevice(await enrol('laptop'), [{ ...readTool(), name: 'shell.run' }]);
  assertEnds(await run('shell.run', {}), 'done');
  const expected = [device, again].map(({ journalId }) => Buffer.from(journalId).toString('hex'));
  assert.deepEqual(journals, expected);
});

test('a call without a route still gets its outcome when the host closes its routes', async (t) => {
  const { run, relay, device, devices } = await started(t, {
    tools: [stuckTool()],
    limits: { timeoutMs: 500, graceMs: 50 },
  });
  const running = run('slow.wait', {});
  await eventually(() => device.running === 1);
  relay.disconnect(device);
  await eventually(() => devices.route('north', 'laptop').connection === undefined);
  devices.close();
  assertEnds(await running, 'unknown', 'call.unknown_outcome');
});
