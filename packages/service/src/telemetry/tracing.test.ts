import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type TestContext, test } from 'node:test';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { ZlError } from '@zerolatency/errors';
import fc from 'fast-check';
import { extract, inject } from './propagation.ts';
import { inSpan } from './span.ts';
import { createTracing } from './tracing.ts';

const KEY = 'sk-ant-0123456789abcdef0123456789';

async function collector(context: TestContext) {
  const bodies: string[] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      bodies.push(`${request.method} ${request.url} ${body}`);
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { bodies, url: `http://127.0.0.1:${address.port}/v1/traces` };
}

test('[OBS-01] spans reach an OTLP collector, with their parents and without secrets', async (context) => {
  const { bodies, url } = await collector(context);
  const tracing = createTracing({ service: 'model-host', version: '0.1.0', otlpUrl: url });
  const attributes = { tenant: 'north', session_id: 's1', audit_id: 'a1', prompt: KEY };
  let parentId = '';
  await inSpan(tracing.tracer, 'turn', { attributes, kind: 'server' }, async (span) => {
    parentId = span.spanContext().spanId;
    await inSpan(tracing.tracer, 'call', {}, async () => {
      throw new ZlError('tool.failed', `could not use ${KEY}`);
    }).catch(() => {});
  });
  await tracing.shutdown();
  assert.equal(bodies.length, 1);
  const [body = ''] = bodies;
  assert.match(body, /^POST \/v1\/traces \{/);
  assert.doesNotMatch(body, /0123456789abcdef/);
  const { resourceSpans } = JSON.parse(body.slice(body.indexOf('{')));
  const [{ resource, scopeSpans }] = resourceSpans;
  assert.match(JSON.stringify(resource), /"service\.name".*"model-host"/);
  const [call, turn] = scopeSpans[0].spans;
  assert.deepEqual([turn.name, call.name, call.parentSpanId], ['turn', 'call', parentId]);
  assert.equal(call.traceId, turn.traceId);
  assert.match(JSON.stringify(turn.attributes), /"session_id".*"s1"/);
  assert.match(JSON.stringify(call.attributes), /"error\.type".*"tool\.failed"/);
  assert.equal(call.status.code, 2);
});

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

test('a collector that is gone fails nobody, and is told of', async () => {
  const lost: unknown[] = [];
  const tracing = createTracing({
    service: 'test',
    version: '0',
    otlpUrl: 'http://127.0.0.1:1/v1/traces',
    exportTimeoutMs: 50,
    onExportError: (error) => lost.push(error),
  });
  await inSpan(tracing.tracer, 'work', {}, async () => {});
  await tracing.flush();
  await tracing.shutdown();
  assert.equal(lost.length, 1);
});

test('[OBS-01] the trace of a peer goes on here', async () => {
  const { tracer, shutdown } = createTracing({ service: 'test', version: '0', sampleRatio: 0 });
  const peer = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const seen = await inSpan(tracer, 'work', { parent: extract(peer) }, async () => inject());
  // The peer sampled it, so it is sampled here, whatever the ratio.
  assert.match(seen, /^00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$/);
  await shutdown();
});

test('a traceparent comes back as it went, and anything else is no parent', () => {
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
