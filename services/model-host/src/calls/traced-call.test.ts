import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTracing } from '@zerolatency/service/telemetry';
import { readTool } from '../../test/relay/offered-tools.ts';
import { never, SCOPE, toolWorld } from '../../test/relay/tool-world.ts';
import { readArguments } from '../turn/tool-step.ts';

test('[OBS-01] a call is a span with its outcome, and the device continues its trace', async (t) => {
  const spans: { name: string; spanId: string; attributes: Record<string, unknown> }[] = [];
  const tracing = createTracing({
    service: 'test',
    version: '0',
    onSpan: (span) => {
      const { name, attributes } = span;
      spans.push({ name, attributes, spanId: span.spanContext().spanId });
    },
  });
  const world = await toolWorld(t, { tools: [readTool()], tracer: tracing.tracer });
  const toolbox = await world.toolboxes.open(SCOPE, never);
  const result = await toolbox
    .prepare('fs.read', readArguments('{"path":"/a"}'))
    .run({ signal: never });
  await tracing.shutdown();
  assert.equal(result.outcome, 'done');
  const [span] = spans;
  assert.equal(span?.name, 'tool.call');
  assert.equal(span?.attributes.outcome, 'done');
  assert.equal(span?.attributes.tenant, 'north');
  assert.equal(world.device.traceparents[0]?.split('-')[2], span?.spanId);
});
