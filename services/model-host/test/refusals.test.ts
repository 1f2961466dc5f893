import assert from 'node:assert/strict';
import { connect as connectHttp2, constants } from 'node:http2';
import { type TestContext, test } from 'node:test';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { credentials, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { AgentService } from '@zerolatency/proto/agent';
import { ErrorInfoSchema, RetryInfoSchema } from '@zerolatency/proto/error-details';
import { durationMicros, fromConnectError } from '@zerolatency/service/rpc';
import { startTestHost, type TestHost } from './support/host.ts';
import { eventsOf } from './support/streams.ts';

const CHAT = '/zerolatency.agent.v1.AgentService/Chat';
const RULES = '- reply: [{ text: thinking }, { hang: true }]';
const ONE_TURN = { rules: RULES, settings: { 'limits.turnsPerUser': 1 } };

/** A client of each protocol, serialization and HTTP version that the host serves. */
function clientsOf({ addresses, ca }: TestHost): Record<string, Client<typeof AgentService>> {
  const options = { baseUrl: addresses.rpc, nodeOptions: { ca } };
  const connect = { ...options, httpVersion: '2' } as const;
  const transports = {
    grpc: createGrpcTransport(options),
    'grpc in JSON': createGrpcTransport({ ...options, useBinaryFormat: false }),
    connect: createConnectTransport(connect),
    'connect in JSON': createConnectTransport({ ...connect, useBinaryFormat: false }),
    'connect over HTTP/1.1': createConnectTransport({ ...connect, httpVersion: '1.1' }),
  };
  return Object.fromEntries(
    Object.entries(transports).map(([name, each]) => [name, createClient(AgentService, each)]),
  );
}

/** Starts a turn that goes on until its client leaves. */
async function holdSlot(t: TestContext, host: TestHost, token: string): Promise<() => void> {
  const leaving = new AbortController();
  t.after(() => leaving.abort());
  const turn = host.client('grpc', token).chat({ start: { text: 'hi' } }, leaving);
  await turn[Symbol.asyncIterator]().next();
  return () => leaving.abort();
}

async function requestsOf(host: TestHost, method: string, errorId: string): Promise<number> {
  const metrics = await (await fetch(`${host.addresses.admin}/metrics`)).text();
  const labels = `method="zerolatency.agent.v1.AgentService/${method}",error_id="${errorId}"`;
  const line = metrics.split('\n').find((each) => each.includes(labels)) ?? '';
  return Number(/\} (\d+)/.exec(line)?.[1] ?? 0);
}

async function reasonOf(responses: Parameters<typeof eventsOf>[0]): Promise<ConnectError> {
  const reason = await eventsOf(responses).then(
    () => assert.fail('it was not refused'),
    (thrown: unknown) => thrown,
  );
  assert.ok(reason instanceof ConnectError);
  return reason;
}

test('[HOST-12] [HOST-14] clients of every protocol read why a turn without a slot is refused, and each refusal is counted', async (t) => {
  const host = await startTestHost(t, ONE_TURN);
  const token = await host.issuer.token();
  await holdSlot(t, host, token);
  const headers = { authorization: `Bearer ${token}` };
  const clients = Object.entries(clientsOf(host));
  for (const [name, client] of clients) {
    for (const refused of [
      client.chat({ start: { text: 'more' } }, { headers }),
      client.callTool({ tool: 'fs.read' }, { headers }),
    ]) {
      const reason = await reasonOf(refused);
      const error = fromConnectError(reason);
      assert.equal(reason.code, Code.ResourceExhausted, name);
      assert.equal(error.id, 'limit.exceeded', name);
      assert.equal(error.message, '1 turns are open, limits.turnsPerUser is 1', name);
      assert.equal(error.retryable, true, name);
      const [info] = reason.findDetails(ErrorInfoSchema);
      assert.deepEqual([info?.reason, info?.domain], ['limit.exceeded', 'zerolatency'], name);
      const [retry] = reason.findDetails(RetryInfoSchema);
      const retryMs = durationMicros(retry?.retryDelay) / 1000;
      assert.ok(retryMs >= 1000 && retryMs <= 2000, `${name}: ${retryMs}`);
      const seconds = Math.ceil(retryMs / 1000);
      assert.equal(reason.metadata.get('retry-after'), `${seconds}`, name);
      assert.equal(error.retryAfterMs, retryMs, name);
    }
  }
  for (const method of ['Chat', 'CallTool']) {
    assert.equal(await requestsOf(host, method, 'limit.exceeded'), clients.length);
  }
  const logged = host.logs.filter(({ error_id: id }) => id === 'limit.exceeded');
  assert.equal(logged.length, 2 * clients.length);
});

test('[HOST-10] clients of every protocol read that a pod which drains takes no turns', async (t) => {
  const host = await startTestHost(t, { rules: RULES });
  const token = await host.issuer.token();
  const leave = await holdSlot(t, host, token);
  const stopped = host.lifecycle.shutdown({ reason: 'test', deadlineMs: 30_000 });
  const headers = { authorization: `Bearer ${token}` };
  for (const [name, client] of Object.entries(clientsOf(host))) {
    const reason = await reasonOf(client.chat({ start: { text: 'more' } }, { headers }));
    assert.equal(fromConnectError(reason).id, 'server.draining', name);
    assert.equal(reason.findDetails(RetryInfoSchema).length, 1, name);
  }
  leave();
  await stopped;
});

test('[HOST-12] a refusal over gRPC has trailers only and needs no message', async (t) => {
  const host = await startTestHost(t, ONE_TURN);
  const token = await host.issuer.token();
  await holdSlot(t, host, token);
  const session = connectHttp2(host.addresses.rpc, { ca: host.ca });
  t.after(() => session.destroy());
  const stream = session.request({
    ...{ ':method': 'POST', ':path': CHAT, 'content-type': 'application/grpc' },
    authorization: `Bearer ${token}`,
  });
  // The request goes on, and nothing of it was sent.
  const { headers, flags } = await new Promise<{ headers: object; flags: number }>((resolve) => {
    stream.once('response', (headers, flags) => resolve({ headers, flags }));
  });
  assert.equal(flags & constants.NGHTTP2_FLAG_END_STREAM, constants.NGHTTP2_FLAG_END_STREAM);
  assert.deepEqual(
    Object.keys(headers).filter((name) => name.startsWith('grpc-')),
    ['grpc-message', 'grpc-status', 'grpc-status-details-bin'],
  );
});

test('[HOST-12] an independent gRPC client reads why a turn is refused', async (t) => {
  const host = await startTestHost(t, ONE_TURN);
  const token = await host.issuer.token();
  await holdSlot(t, host, token);
  const ssl = credentials.createSsl(Buffer.from(host.ca));
  const client = new GrpcClient(host.addresses.rpc.replace('https://', ''), ssl);
  t.after(() => client.close());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const same = (bytes: Buffer) => bytes;
  const call = client.makeServerStreamRequest(CHAT, same, same, Buffer.alloc(0), metadata);
  call.resume();
  const error = await new Promise<{ code: number; details: string; metadata: Metadata }>(
    (resolve) => call.on('error', (reason) => resolve(reason as never)),
  );
  assert.equal(error.code, Code.ResourceExhausted);
  assert.match(error.details, /limits\.turnsPerUser is 1/);
  const [details] = error.metadata.get('grpc-status-details-bin');
  assert.match(String(details), /limit\.exceeded[\s\S]*google\.rpc\.RetryInfo/);
});
