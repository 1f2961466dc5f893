import assert from 'node:assert/strict';
import { connect as connectHttp2, constants, type IncomingHttpHeaders } from 'node:http2';
import { type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, type ConnectError } from '@connectrpc/connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import {
  type ChatEvent,
  ChatRequestSchema,
  ChatResponseSchema,
  StreamChatRequestSchema,
} from '@zerolatency/proto/agent';
import { HealthCheckRequestSchema } from '@zerolatency/proto/health';
import { fromConnectError } from '@zerolatency/service/rpc';
import { refusalsOf } from '@zerolatency/testing';
import { startTestHost, type TestHost } from './support/host.ts';
import { eventsOf, only, start } from './support/streams.ts';

const SERVICE = '/zerolatency.agent.v1.AgentService';
const COMPRESSED = 1;
const HANG = '- reply: [{ text: thinking }, { hang: true }]';

interface Ended {
  readonly events: readonly ChatEvent[];
  /** The error of the status; undefined when it is OK. */
  readonly error: ConnectError | undefined;
}

function enveloped(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function* messagesOf(body: Buffer) {
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    yield { flags: body.readUInt8(at), payload: body.subarray(at + 5, end) };
    at = end;
  }
}

async function exchange(
  t: TestContext,
  host: TestHost,
  request: { method: string; headers: Readonly<Record<string, string>>; body: Buffer },
): Promise<{ body: Buffer; headers: IncomingHttpHeaders; trailers: IncomingHttpHeaders }> {
  const session = connectHttp2(host.addresses.rpc, { ca: host.ca });
  t.after(() => session.destroy());
  const stream = session.request({
    ...{ ':method': 'POST', ':path': `${SERVICE}/${request.method}` },
    authorization: `Bearer ${await host.issuer.token()}`,
    ...request.headers,
  });
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  stream.on('response', (received) => {
    headers = received;
  });
  stream.on('trailers', (received) => {
    trailers = received;
  });
  stream.end(request.body);
  const body = Buffer.concat(await stream.toArray());
  return { body, headers, trailers };
}

async function grpc(
  t: TestContext,
  host: TestHost,
  {
    method,
    body,
    headers = {},
  }: { method: string; body: Buffer; headers?: Record<string, string> },
): Promise<Ended> {
  const type = { 'content-type': 'application/grpc' };
  const answer = await exchange(t, host, { method, body, headers: { ...type, ...headers } });
  const events = [...messagesOf(answer.body)].flatMap(
    ({ payload }) => fromBinary(ChatResponseSchema, payload).event ?? [],
  );
  const ends = Object.entries({ ...answer.headers, ...answer.trailers });
  const trailer = new Headers(
    ends.flatMap(([name, value]) => (name.startsWith('grpc-') ? [[name, String(value)]] : [])) as [
      string,
      string,
    ][],
  );
  return { events, error: findTrailerError(trailer) };
}

function startOf(method: string, text: string): Buffer {
  const { action } = start({ text });
  if (method === 'StreamChat') return enveloped(toBinary(StreamChatRequestSchema, start({ text })));
  assert.equal(action.case, 'start');
  return enveloped(toBinary(ChatRequestSchema, create(ChatRequestSchema, { start: { text } })));
}

for (const method of ['Chat', 'StreamChat']) {
  test(`[HOST-14] a raw grpc-timeout ends ${method} with budget.time in event, record and status`, async (t) => {
    const host = await startTestHost(t, { rules: HANG });
    const headers = { 'grpc-timeout': '300m' };
    const body = startOf(method, 'hello');
    const { events, error } = await grpc(t, host, { method, headers, body });
    const last = events.at(-1)?.event;
    assert.equal(last?.case === 'error' && last.value.id, 'budget.time');
    assert.equal(error?.code, Code.DeadlineExceeded);
    assert.equal(fromConnectError(error).id, 'budget.time');
    assert.deepEqual(
      host.recorder.records.map(({ errorId }) => errorId),
      ['budget.time'],
    );
  });
}

test('[HOST-14] a raw connect-timeout-ms ends a turn with budget.time in event and status', async (t) => {
  const host = await startTestHost(t, { rules: HANG });
  const type = 'application/connect+json';
  const { body } = await exchange(t, host, {
    method: 'Chat',
    headers: { 'content-type': type, 'connect-timeout-ms': '300' },
    body: enveloped(Buffer.from('{"start":{"text":"hello"}}')),
  });
  const [end, last] = [...messagesOf(body)]
    .map(({ payload }) => JSON.parse(`${payload}`))
    .reverse();
  assert.equal(last.event.error.id, 'budget.time');
  assert.equal(end.error.code, 'deadline_exceeded');
  assert.equal(end.error.details[0].debug.id, 'budget.time');
});

test('[HOST-14] a failed turn of Chat ends its RPC, and one of StreamChat does not', async (t) => {
  const host = await startTestHost(t, { rules: HANG });
  const client = host.client('grpc', await host.issuer.token());
  const asked = { text: 'hello', limits: { timeout: { nanos: 50_000_000 } } };
  const isLate = (reason: unknown) => fromConnectError(reason).id === 'budget.time';
  await assert.rejects(eventsOf(client.chat({ start: asked })), isLate);
  const events = await eventsOf(client.streamChat(only(start(asked))));
  assert.equal(events.at(-1)?.event.case, 'error');
});

test('[HOST-14] messages that cannot be read are refused with our detail', async (t) => {
  const host = await startTestHost(t);
  const unreadable = enveloped(Buffer.from([0xff, 0xff, 0xff]));
  const huge = Buffer.alloc(5);
  huge.writeUInt32BE(2 ** 30, 1);
  const message = startOf('Chat', 'hello').subarray(5);
  const cases = [
    { body: unreadable, id: 'request.invalid' },
    { body: Buffer.concat([huge, Buffer.alloc(10)]), id: 'request.too_large' },
    { body: enveloped(message, 1), headers: { 'grpc-encoding': 'gzip' }, id: 'request.invalid' },
    {
      body: enveloped(message, 1),
      headers: { 'grpc-encoding': 'zstd' },
      id: 'request.unimplemented',
    },
  ];
  for (const method of ['Chat', 'StreamChat']) {
    for (const { id, ...request } of cases) {
      const { error } = await grpc(t, host, { method, ...request });
      const detail = fromConnectError(error);
      assert.equal(detail.id, id, `${method}: ${error?.message}`);
      assert.ok((error?.details.length ?? 0) > 1, `${method} ${id} has no detail`);
    }
  }
});

test('answers are never compressed, however large and whatever the client accepts', async (t) => {
  const rules = `- reply: [{ text: { value: ${'x'.repeat(200_000)}, chunkChars: 200000 } }]`;
  const host = await startTestHost(t, { rules });
  for (const [type, accepts] of [
    ['application/grpc', 'grpc-accept-encoding'],
    ['application/connect+proto', 'connect-accept-encoding'],
  ] as const) {
    const headers = { 'content-type': type, [accepts]: 'gzip' };
    const { body } = await exchange(t, host, {
      method: 'Chat',
      headers,
      body: startOf('Chat', 'x'),
    });
    const messages = [...messagesOf(body)];
    assert.ok(messages.some(({ payload }) => payload.length > 100_000));
    assert.ok(messages.every(({ flags }) => (flags & COMPRESSED) === 0));
  }
});

test('[HOST-14] health and reflection refuse with our detail as well', async (t) => {
  const host = await startTestHost(t);
  const unknown = enveloped(
    toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service: 'nothing' })),
  );
  const unreadable = enveloped(Buffer.from([0xff, 0xff, 0xff]));
  const huge = enveloped(Buffer.alloc(17 * 1024));
  for (const [path, body, id] of [
    ['grpc.health.v1.Health/Check', unknown, 'request.not_found'],
    ['grpc.health.v1.Health/Watch', unreadable, 'request.invalid'],
    ['grpc.health.v1.Health/Watch', huge, 'request.too_large'],
    ['grpc.reflection.v1.ServerReflection/ServerReflectionInfo', unreadable, 'request.invalid'],
    ['grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo', huge, 'request.too_large'],
  ] as const) {
    const headers = { ':path': `/${path}` };
    const { error } = await grpc(t, host, { method: '', headers, body });
    assert.equal(fromConnectError(error).id, id, `${path}: ${error?.message}`);
    assert.ok((error?.details.length ?? 0) > 1, `${path} ${id} has no detail`);
  }
});

test('[HOST-14] RPCs of the host that take one message refuse whatever they cannot read with our detail', async (t) => {
  const host = await startTestHost(t);
  const session = connectHttp2(host.addresses.rpc, { ca: host.ca });
  t.after(() => session.destroy());
  const path = '/grpc.health.v1.Health/Check';
  const { expected, actual } = await refusalsOf(session, { path, maxBytes: 16 * 1024 });
  assert.deepEqual(actual, expected);
});

test('[HOST-14] metadata over the limit ends its own stream, and others on the connection go on', async (t) => {
  const host = await startTestHost(t);
  const session = connectHttp2(host.addresses.rpc, {
    ca: host.ca,
    maxSendHeaderBlockLength: 1024 * 1024,
  });
  t.after(() => session.destroy());
  const request = async (metadata: Readonly<Record<string, string>>) => {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': `${SERVICE}/Chat`, 'content-type': 'application/grpc' },
      ...{ authorization: `Bearer ${await host.issuer.token()}`, ...metadata },
    });
    let status: unknown;
    stream.on('trailers', (trailers) => {
      status = trailers['grpc-status'];
    });
    stream.on('error', () => {});
    stream.resume();
    stream.end(startOf('Chat', 'hello'));
    await new Promise<void>((resolve) => stream.once('close', () => resolve()));
    return { status, reset: stream.rstCode };
  };
  // The limit holds once the client has acknowledged it.
  assert.equal((await request({})).status, '0');
  const other = request({});
  const large = { 'x-one': 'v'.repeat(33_000), 'x-two': 'v'.repeat(33_000) };
  // Libraries of gRPC read it as RESOURCE_EXHAUSTED.
  const calm = { status: undefined, reset: constants.NGHTTP2_ENHANCE_YOUR_CALM };
  assert.deepEqual(await request(large), calm);
  assert.equal((await other).status, '0');
  assert.equal((await request({ 'x-one': 'v'.repeat(33_000) })).status, '0');
});

test('[HOST-12] a turn without a free slot is refused before its text is read', async (t) => {
  const host = await startTestHost(t, { rules: HANG, settings: { 'limits.turnsPerUser': 1 } });
  const client = host.client('grpc', await host.issuer.token());
  const leaving = new AbortController();
  const first = client.chat({ start: { text: 'hello' } }, { signal: leaving.signal });
  await first[Symbol.asyncIterator]().next();
  // An unreadable request shows which came first.
  const unreadable = { sessionId: '!', text: 'hello' };
  const isFull = (reason: unknown) => fromConnectError(reason).id === 'limit.exceeded';
  await assert.rejects(eventsOf(client.chat({ start: unreadable })), isFull);
  await assert.rejects(eventsOf(client.streamChat(only(start(unreadable)))), isFull);
  leaving.abort();
});
