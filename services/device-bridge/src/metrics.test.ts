import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { RefusedReason, RefusedSchema } from '@zerolatency/proto/call';
import { createRegistry } from '@zerolatency/service/telemetry';
import { BridgeMetrics } from './metrics.ts';

test('[OBS-02] each reason to refuse a call is counted under its own name', async () => {
  const registry = createRegistry({ service: 'device-bridge', version: '1' });
  const metrics = new BridgeMetrics(registry);
  const reasons = Object.values(RefusedReason).filter((reason) => typeof reason === 'number');
  for (const reason of reasons.filter((each) => each !== RefusedReason.UNSPECIFIED)) {
    const payload = toBinary(RefusedSchema, create(RefusedSchema, { reason }));
    metrics.callRefused({ payload });
  }
  const counted = (await registry.metrics()).match(/^zl_bridge_calls_refused_total\{.*$/gm) ?? [];
  assert.equal(counted.length, reasons.length - 1);
  assert.doesNotMatch(counted.join(), /reason="other"/);
});
