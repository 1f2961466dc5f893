import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import { createTracing, extract, inject, inSpan } from './tracing.ts';

const KEY = 'sk-ant-0123456789abcdef0123456789';

test('[RED-01] names, attributes, events and status of a span are masked', async () => {
  const spans: ReadableSpan[] = [];
  const { tracer, shutdown } = createTracing({
    service: 'test',
    version: '0',
    onSpan: (span) => spans.push(span),
  });
  const span = tracer.startSpan(`read ${KEY}`, { attributes: { password: 'plain', list: [KEY] } });
  span.setStatus({ code: 2, message: KEY });
  span.addEvent('note', { text: `password=hunter2 ${KEY}`, size: 3 });
  span.end();
  await shutdown();
  const [seen] = spans;
  const { name, attributes, events, status } = seen!;
  assert.deepEqual(
    { name, attributes, event: events[0]?.attributes, status },
    {
      name: 'read [masked:anthropic-key]',
      attributes: { password: '[masked:secret]', list: ['[masked:anthropic-key]'] },
      event: { text: 'password=[masked:secret] [masked:anthropic-key]', size: 3 },
      status: { code: 2, message: '[masked:anthropic-key]' },
    },
  );
});

test('without a collector spans still have ids, and work keeps its result', async () => {
  const { tracer, shutdown } = createTracing({ service: 'test', version: '0' });
  const result = await inSpan(tracer, 'work', {}, async () => inject());
  assert.match(result, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  assert.equal(inject(), '');
  await shutdown();
});

test('[OBS-01] the trace of a peer goes on here', async () => {
  const { tracer, shutdown } = createTracing({ service: 'test', version: '0' });
  for (const sampled of ['01', '00']) {
    const peer = `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${sampled}`;
    const seen = await inSpan(tracer, 'work', { parent: extract(peer) }, async () => inject());
    assert.match(seen, /^00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa0ba902b7)[0-9a-f]{16}-/);
    assert.equal(seen.slice(-2), sampled, "the peer's decision to sample is kept");
  }
  await shutdown();
});

test('a traceparent survives a round trip, and any other text is not a parent', () => {
  const hex = (length: number) =>
    fc
      .string({
        unit: fc.constantFrom(...'0123456789abcdef'),
        minLength: length,
        maxLength: length,
      })
      .filter((id) => /[^0]/.test(id));
  fc.assert(
    fc.property(hex(32), hex(16), fc.boolean(), (trace, span, sampled) => {
      const traceparent = `00-${trace}-${span}-${sampled ? '01' : '00'}`;
      assert.equal(inject(extract(traceparent)), traceparent);
    }),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      assert.equal(inject(extract(text)), '');
    }),
  );
  assert.equal(extract(undefined), ROOT_CONTEXT);
});
