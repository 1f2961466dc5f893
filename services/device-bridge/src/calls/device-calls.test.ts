import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trace } from '@opentelemetry/api';
import { MemoryJournal } from '@zerolatency/call';
import { FrameKind } from '@zerolatency/frame';
import { generateKeyPair, signerFromPem } from '@zerolatency/signing';
import { DeviceCalls } from './device-calls.ts';

test('a device is idle from its last frame on', () => {
  const calls = new DeviceCalls({
    journal: new MemoryJournal(new Uint8Array(16)),
    clock: { steadyMs: () => performance.now(), setTimeout, clearTimeout: () => {} },
    limits: { maxResultBytes: 1_000 },
    device: { tenant: 'north', id: 'laptop' },
    signer: signerFromPem(generateKeyPair().privatePem),
    policy: { decide: () => assert.fail('nothing is called'), opened: async () => undefined },
    servers: { find: () => undefined, onceSettled: (_, then) => then() },
    tracer: trace.getTracer('test'),
    nowMs: Date.now,
    send: () => {},
    onEnded: () => {},
    onRefused: () => {},
    onFatal: (error) => assert.fail(String(error)),
  });
  calls.attached(1);
  const before = performance.now();
  const head = { flags: 0, device: 0, callId: Buffer.alloc(16), offset: 0, epoch: 1 };
  calls.frame({ ...head, kind: FrameKind.CANCEL, payload: Buffer.alloc(0) }, 'host');
  const { idleMs } = calls;
  assert.ok(idleMs >= 0 && idleMs <= performance.now() - before, `${idleMs} ms`);
  calls.close();
});
