import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { createLogger } from './logger.ts';
import { createTracing, inSpan } from './tracing.ts';

const KEY = 'sk-ant-0123456789abcdef0123456789';

function capture(level = 'info') {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const log = createLogger({ service: 'model-host', version: '0.1.0', level, destination });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? 'null') };
}

test('[OBS-04] a line is JSON with level, time, service, version and message', () => {
  const { log, last } = capture();
  log.info({ port: 1 }, 'listening');
  const { time, ...rest } = last();
  assert.match(time, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.deepEqual(rest, {
    level: 'info',
    service: 'model-host',
    version: '0.1.0',
    port: 1,
    msg: 'listening',
  });
});

test('[OBS-04] the keys of a line are in snake case, whoever wrote it', () => {
  const { log, last } = capture();
  log
    .child({ deviceId: 'd-1' })
    .warn({ errorId: 'peer.lost', retryInMs: 5, trace_id: 'a' }, 'lost');
  const { time: _, ...line } = last();
  const keys = ['level', 'service', 'version', 'device_id', 'error_id', 'retry_in_ms'];
  assert.deepEqual(Object.keys(line), [...keys, 'trace_id', 'msg']);
});

test('[OBS-04] lines in a span carry its ids, other lines carry none', async () => {
  const { log, last } = capture();
  const { tracer, shutdown } = createTracing({ service: 'test', version: '0' });
  await inSpan(tracer, 'work', {}, async (span) => {
    await Promise.resolve();
    log.info('inside');
    const { traceId, spanId } = span.spanContext();
    assert.deepEqual([last().trace_id, last().span_id], [traceId, spanId]);
  });
  log.info('outside');
  assert.equal('trace_id' in last(), false);
  await shutdown();
});

test('[RED-01] no part of a line shows a secret', () => {
  const { log, lines } = capture('trace');
  const error = new ZlError('internal', `key ${KEY}`, { cause: new Error(KEY) });
  log.info(`message ${KEY}`);
  log.info('formatted %s %o', KEY, { deep: KEY });
  log.info({ text: KEY, list: [KEY], deep: { er: { still: KEY } }, [KEY]: 1 });
  log.error(error);
  log.error({ err: error, other: error }, 'failed');
  log.error({
    err: Object.assign(new Error('x'), { request: { authorization: `Bearer ${KEY}` } }),
  });
  log.child({ binding: KEY }).warn('child');
  log.child({ a: 1 }).child({ binding: KEY }, { level: 'debug' }).debug('grandchild');
  const bound = log.child({});
  bound.setBindings({ late: KEY });
  bound.info('set');
  log.child({}, { msgPrefix: `${KEY} ` }).info('prefixed');
  log.info({ password: 'plain words', apiKey: 42 }, 'by name');
  assert.equal(lines.length, 11);
  for (const line of lines) {
    assert.doesNotMatch(line, /0123456789abcdef|plain words|"apiKey":42/);
    assert.match(line, /\[masked:/);
    JSON.parse(line);
  }
});

test('[RED-01] a line shows escapes for what reorders text or is not seen', () => {
  const { log, lines, last } = capture();
  const hostile = 'a\u202eb\u200bc\u{e0067}\u009b';
  log.info({ server: hostile, [hostile]: 1, err: new Error(hostile) }, hostile);
  assert.doesNotMatch(lines[0]?.trimEnd() ?? '', /[\p{Cc}\p{Cf}]/u);
  assert.equal(last().server, hostile);
});

test('an error is logged with type, message, stack, id and cause', () => {
  const { log, last } = capture();
  log.error(new ZlError('relay.unreachable', 'no relay', { cause: new TypeError('refused') }));
  const { err, msg } = last();
  assert.equal(msg, 'no relay');
  assert.equal(err.type, 'ZlError');
  assert.equal(err.id, 'relay.unreachable');
  assert.equal(err.message, 'no relay');
  assert.match(err.stack, /logger\.test\.ts/);
  assert.equal(err.cause.type, 'TypeError');
  assert.equal(err.cause.message, 'refused');
});

test('[OBS-04] a line is bounded, whatever it is given', () => {
  const { log, lines } = capture();
  const loop: Record<string, unknown> = { bytes: new Uint8Array(1e6), big: 10n, when: new Date(0) };
  loop.again = loop;
  loop.wide = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`k${n}`, n]));
  const error = new Error('x'.repeat(1e6));
  error.cause = error;
  log.info({ loop, long: 'y'.repeat(1e6), many: Array(1e5).fill(1), nothing: undefined }, 'a');
  log.error(error);
  log.info('z'.repeat(1e6));
  for (const line of lines) {
    assert.ok(line.length < 200_000, `${line.length}`);
    JSON.parse(line);
  }
  assert.match(lines[0] ?? '', /"bytes":"\[1000000 bytes\]"/);
});

test('[RED-01] a secret across the cut of a long text is masked whole', () => {
  const { log, last } = capture();
  log.info(`${'x'.repeat(8180)} ${KEY}`);
  assert.doesNotMatch(last().msg, /sk-ant/);
});

test('a level that is off costs no masking', () => {
  const { log, lines } = capture('warn');
  const untouchable = new Proxy({}, { ownKeys: () => assert.fail('was read') });
  log.info(untouchable, 'never');
  assert.equal(lines.length, 0);
});

test('[OBS-02] each secret masked in a line is reported by its detector', () => {
  const told: string[] = [];
  const log = createLogger({
    service: 'model-host',
    level: 'info',
    destination: { write() {} },
    onMasked: (detector) => told.push(detector),
  });
  log.child({ note: KEY }).info({ password: 'plain words', deep: [{ pin: KEY }] }, `at ${KEY}`);
  log.debug(KEY);
  assert.deepEqual(told.sort(), ['anthropic-key', 'anthropic-key', 'anthropic-key', 'secret']);
});
