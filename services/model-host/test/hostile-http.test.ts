import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { startTestHost, type TestHost } from './support/host.ts';
import { eventsOf, namesOf, only, start } from './support/streams.ts';

const PATH = '/zerolatency.agent.v1.AgentService/StreamChat';

async function isAlive(host: TestHost): Promise<void> {
  const client = host.client('grpc', await host.issuer.token());
  const events = await eventsOf(client.streamChat(only(start({ text: 'hello' }))));
  assert.equal(namesOf(events).at(-1), 'assistantDone');
}

/** What comes back for bytes that are sent as they are. */
async function exchange(host: TestHost, bytes: string): Promise<string> {
  const { port } = new URL(host.addresses.rpc);
  const socket = connect({
    host: '127.0.0.1',
    port: Number(port),
    ca: host.ca,
    ALPNProtocols: ['http/1.1'],
  });
  socket.end(bytes);
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

function statusOf(host: TestHost, headers: Record<string, string>): Promise<unknown> {
  const session = connectHttp2(host.addresses.rpc, { ca: host.ca });
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const stream = session.request({ ':method': 'POST', ':path': PATH, ...headers });
  stream.once('response', (response) => resolve(response[':status']));
  stream.once('error', (error) => resolve(error));
  stream.resume();
  stream.end('x');
  return promise.finally(() => session.destroy());
}

test('refuses an HTTP/1.0 request without a host, and garbage, without harm to others', async (t) => {
  const host = await startTestHost(t);
  assert.match(
    await exchange(host, `POST ${PATH} HTTP/1.0\r\ncontent-type: application/grpc\r\n\r\n`),
    / 400 /,
  );
  assert.match(await exchange(host, `POST ${PATH} HTTP/1.1\r\nhost: a b[\r\n\r\n`), / 400 /);
  assert.match(
    await exchange(host, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'),
    / 404 /,
  );
  assert.match(await exchange(host, 'nonsense\r\n\r\n'), / 400 /);
  await isAlive(host);
});

test('refuses an HTTP/2 request with a broken authority or path, without harm to others', async (t) => {
  const host = await startTestHost(t);
  const authorization = `Bearer ${await host.issuer.token()}`;
  const broken = { ':authority': 'a:99999', 'content-type': 'application/grpc', authorization };
  assert.equal(await statusOf(host, broken), 400);
  assert.equal(await statusOf(host, { 'content-type': 'text/plain' }), 415);
  assert.equal(await statusOf(host, { ':path': '/x?%' }), 404);
  assert.equal(await statusOf(host, { ':path': '/x?%', 'content-type': 'application/json' }), 501);
  await isAlive(host);
});

test('a message larger than the limit is refused before it is read', async (t) => {
  const host = await startTestHost(t);
  const client = host.client('grpc', await host.issuer.token());
  const text = 'x'.repeat(4 * 1024 * 1024);
  await assert.rejects(eventsOf(client.streamChat(only(start({ text })))), /resource_exhausted/);
  await isAlive(host);
});

test('a client refused before its request was complete can still send it and reads the refusal', async (t) => {
  const host = await startTestHost(t);
  const session = connectHttp2(host.addresses.rpc, { ca: host.ca });
  t.after(() => session.destroy());
  const headers = { 'content-type': 'application/connect+json' };
  const stream = session.request({ ':method': 'POST', ':path': PATH, ...headers });
  let refusal = '';
  for await (const chunk of stream) refusal += chunk;
  assert.match(refusal, /identity\.missing/);
  // A reset that was sent with the answer would overtake this.
  await new Promise((resolve) => session.ping(resolve));
  assert.equal(stream.closed, false);
  stream.end('the request');
  await new Promise((resolve) => stream.once('close', resolve));
  assert.equal(stream.rstCode, 0);
});
