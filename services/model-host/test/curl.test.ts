import assert from 'node:assert/strict';
import { Agent, request } from 'node:https';
import { test } from 'node:test';
import { startTestHost, type TestHost } from './support/host.ts';

interface Answer {
  readonly status: number | undefined;
  readonly version: string;
  readonly messages: readonly Record<string, unknown>[];
}

/** What curl does: HTTP/1.1, Connect's JSON form, each message behind a byte of flags and its length. */
async function post(host: TestHost, body: string, token: string): Promise<Answer> {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(body), 1);
  const agent = new Agent({ ca: host.ca, keepAlive: false });
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const headers = { 'content-type': 'application/connect+json', authorization: `Bearer ${token}` };
  const url = `${host.addresses.rpc}/zerolatency.agent.v1.AgentService/Chat`;
  const call = request(url, { method: 'POST', agent, headers }, async (response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const messages = [...envelopes(Buffer.concat(chunks))];
    resolve({ status: response.statusCode, version: response.httpVersion, messages });
  });
  call.once('error', reject);
  call.end(Buffer.concat([head, Buffer.from(body)]));
  return promise;
}

function* envelopes(bytes: Buffer): Generator<Record<string, unknown>> {
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    yield JSON.parse(bytes.toString('utf8', at + 5, at + 5 + length));
    at += 5 + length;
  }
}

test('[HOST-01] Chat answers HTTP/1.1 in the JSON form of Connect', async (t) => {
  const host = await startTestHost(t);
  const answer = await post(host, '{"start":{"text":"hello"}}', await host.issuer.token());
  assert.equal(answer.status, 200);
  assert.equal(answer.version, '1.1');
  const events = answer.messages.flatMap(({ event }) => (event === undefined ? [] : [event]));
  assert.match(JSON.stringify(events[0]), /"assistantDelta"/);
  assert.match(JSON.stringify(events.at(-1)), /"assistantDone"/);
  assert.deepEqual(answer.messages.at(-1), {});
});

test('[HOST-14] refuses an unreadable message with InvalidArgument, and nothing runs', async (t) => {
  const host = await startTestHost(t);
  const token = await host.issuer.token();
  for (const body of ['', '[]', '{"start":', '{"start":{"text":7}}', '{"stop":{}}', '\u0000']) {
    const { messages } = await post(host, body, token);
    const [{ error } = {}] = messages;
    assert.match(JSON.stringify(error), /"code":"invalid_argument"/, body);
  }
  assert.equal(host.recorder.records.length, 0);
});
