import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';
import { startTestHost, type TestHost } from './support/host.ts';

// A gRPC implementation that shares no code with ours, over the .proto file alone.

interface Event {
  readonly sequence: string;
  readonly event: string;
  readonly assistantDelta?: { readonly text: string };
  readonly error?: { readonly id: string };
}

const includeDirs = [fileURLToPath(new URL('../../../proto', import.meta.url))];
const PROTO = 'zerolatency/agent/v1/agent.proto';
const definition = loadSync(PROTO, { includeDirs, oneofs: true, longs: String });

function method(packages: PackageDefinition, service: string, name: string) {
  const found = packages[service];
  assert.ok(found !== undefined && name in found);
  return (
    found as Record<
      string,
      {
        path: string;
        requestSerialize: (value: object) => Buffer;
        responseDeserialize: (bytes: Buffer) => { event: Event };
      }
    >
  )[name]!;
}

async function connect(host: TestHost): Promise<{ client: Client; metadata: Metadata }> {
  const address = host.addresses.rpc.replace('https://', '');
  const client = new Client(address, credentials.createSsl(Buffer.from(host.ca)));
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await host.issuer.token()}`);
  return { client, metadata };
}

function streamChat(client: Client, metadata: Metadata) {
  const { path, requestSerialize, responseDeserialize } = method(
    definition,
    'zerolatency.agent.v1.AgentService',
    'StreamChat',
  );
  return client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
}

test('[HOST-01] an independent gRPC client streams a chat', async (t) => {
  const host = await startTestHost(t, { tools: { 'fs.read': () => ({ content: 'Welcome.' }) } });
  const { client, metadata } = await connect(host);
  t.after(() => client.close());
  const call = streamChat(client, metadata);
  call.write({ start: { text: 'read the welcome file', deviceId: 'laptop' } });
  call.end();
  const events: Event[] = [];
  for await (const { event } of call) events.push(event);
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, index) => String(index + 1)),
  );
  assert.match(
    events.map(({ assistantDelta }) => assistantDelta?.text ?? '').join(''),
    /Welcome\./,
  );
  assert.equal(events.at(-1)?.event, 'assistantDone');
});

test('[HOST-05] an independent gRPC client that cancels its call cancels the turn', async (t) => {
  const started = Promise.withResolvers<AbortSignal>();
  const host = await startTestHost(t, {
    rules: '- reply: [{ toolCalls: [{ tool: wait }] }]',
    tools: {
      wait: ({ signal }) => {
        started.resolve(signal);
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      },
    },
  });
  const { client, metadata } = await connect(host);
  t.after(() => client.close());
  const call = streamChat(client, metadata);
  call.on('error', () => {});
  call.resume();
  call.write({ start: { text: 'go', deviceId: 'laptop' } });
  const signal = await started.promise;
  const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
  call.cancel();
  await aborted;
});

test('[HOST-14] refuses a message that is not protobuf and ends the turn before it', async (t) => {
  const host = await startTestHost(t, { rules: '- reply: [{ text: a }, { hang: true }]' });
  const { client, metadata } = await connect(host);
  t.after(() => client.close());
  const { path, requestSerialize, responseDeserialize } = method(
    definition,
    'zerolatency.agent.v1.AgentService',
    'StreamChat',
  );
  for (const asked of [false, true]) {
    const call = client.makeBidiStreamRequest<Buffer, { event: Event }>(
      path,
      (bytes) => bytes,
      responseDeserialize,
      metadata,
    );
    const failed = new Promise<{ code: number; metadata: Metadata }>((resolve) => {
      call.on('error', (error) => resolve(error as never));
      call.on('end', () => resolve({ code: status.OK, metadata: new Metadata() }));
    });
    const events: (string | undefined)[] = [];
    call.on('data', ({ event }: { event: Event }) => {
      events.push(event.error?.id ?? event.event);
      if (events.length === 1) call.write(Buffer.from([0xff, 0xff]));
    });
    call.write(asked ? requestSerialize({ start: { text: 'go' } }) : Buffer.from([0xff, 0xff]));
    const refusal = await failed;
    assert.equal(refusal.code, status.INVALID_ARGUMENT);
    assert.match(String(refusal.metadata.get('grpc-status-details-bin')), /request\.invalid/);
    assert.deepEqual(events, asked ? ['assistantDelta', 'request.invalid'] : []);
  }
  assert.equal(host.recorder.records.length, 1);
});

test('[HOST-14] an independent gRPC client reads the code and the detail of a refusal', async (t) => {
  const host = await startTestHost(t);
  const { client } = await connect(host);
  t.after(() => client.close());
  const call = streamChat(client, new Metadata());
  const failed = await new Promise<{ code: number; metadata: Metadata }>((resolve) => {
    call.on('error', (error) => resolve(error as never));
    call.resume();
    call.write({ start: { text: 'hello' } });
  });
  assert.equal(failed.code, status.UNAUTHENTICATED);
  const [details] = failed.metadata.get('grpc-status-details-bin');
  assert.match(String(details), /identity\.missing/);
});

test('[HOST-13] an independent health client sees SERVING, and NOT_FOUND for unknown services', async (t) => {
  const host = await startTestHost(t);
  const { client } = await connect(host);
  t.after(() => client.close());
  const { path, requestSerialize, responseDeserialize } = healthService.Check!;
  const check = promisify((name: string, done: (error: Error | null, value?: unknown) => void) =>
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service: name }, done),
  );
  assert.deepEqual(await check('zerolatency.agent.v1.AgentService'), { status: 'SERVING' });
  await assert.rejects(check('nobody'), { code: status.NOT_FOUND });
});

test('an independent gRPC client receives UNIMPLEMENTED for an unknown method, and it is counted', async (t) => {
  const host = await startTestHost(t);
  const { client, metadata } = await connect(host);
  t.after(() => client.close());
  const call = promisify((path: string, done: (error: Error | null) => void) =>
    client.makeUnaryRequest(
      path,
      () => Buffer.alloc(0),
      (bytes: Buffer) => bytes,
      {},
      metadata,
      done,
    ),
  );
  for (const path of ['/zerolatency.agent.v1.AgentService/Resume', '/no.such.Service/Call']) {
    await assert.rejects(call(path), (error: Error & { code: number; metadata: Metadata }) => {
      assert.equal(error.code, status.UNIMPLEMENTED);
      const [details] = error.metadata.get('grpc-status-details-bin');
      assert.match(String(details), /request\.unimplemented/);
      return true;
    });
  }
  const metrics = await (await fetch(`${host.addresses.admin}/metrics`)).text();
  assert.match(metrics, /method="other",error_id="request.unimplemented".*\} 2/);
});

test('[HOST-01] reflection describes the services to an independent client, without a token', async (t) => {
  const host = await startTestHost(t);
  const { client } = await connect(host);
  t.after(() => client.close());
  for (const version of ['v1', 'v1alpha']) {
    const file = new URL(
      `../../../node_modules/@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`,
      import.meta.url,
    );
    const service = `grpc.reflection.${version}.ServerReflection`;
    const { path, requestSerialize, responseDeserialize } = method(
      loadSync(fileURLToPath(file), { oneofs: true, enums: String }),
      service,
      'ServerReflectionInfo',
    );
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    call.write({ listServices: '' });
    call.write({ fileContainingSymbol: 'zerolatency.agent.v1.ChatEvent' });
    call.write({ fileContainingSymbol: 'no.such.Thing' });
    call.end();
    const answers: Record<string, unknown>[] = [];
    for await (const answer of call) answers.push(answer as never);
    assert.match(JSON.stringify(answers[0]), /zerolatency\.agent\.v1\.AgentService/);
    assert.equal(answers[1]?.messageResponse, 'fileDescriptorResponse');
    assert.equal(answers[2]?.messageResponse, 'errorResponse');
  }
});

test('a large request without a token is refused before it is read', async (t) => {
  const host = await startTestHost(t);
  const { client } = await connect(host);
  t.after(() => client.close());
  // Field 1 is a text in both messages: host of reflection, service of health.
  const text = Buffer.alloc(20_000, 'a');
  const request = Buffer.concat([Buffer.from([0x0a, 0xa0, 0x9c, 0x01]), text]);
  const same = (bytes: Buffer) => bytes;
  for (const path of [
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.health.v1.Health/Watch',
  ]) {
    const call = client.makeBidiStreamRequest(path, same, same);
    const ended = new Promise<number>((resolve) => {
      call.on('status', ({ code }) => resolve(code));
    });
    call.on('error', () => {});
    call.on('data', () => {});
    call.end(request);
    assert.equal(await ended, status.RESOURCE_EXHAUSTED, path);
  }
});
