import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { EventWriter } from './event-writer.ts';

async function exchange(t: TestContext, { isReading }: { isReading: boolean }) {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.after(() => client.destroy());
  const stream = client.request({ ':method': 'POST' });
  const [, response]: [unknown, Http2ServerResponse] = (await once(server, 'request')) as never;
  const received = { text: '' };
  if (isReading) stream.setEncoding('utf8').on('data', (text) => (received.text += text));
  return { response, received };
}

const message = (text: string) =>
  Buffer.from(`{"event":{"sequence":"1","turnId":"t","assistantDelta":{"text":"${text}"}}}`);

test('[HOST-01] a quiet stream gets comments', async (t) => {
  const { response, received } = await exchange(t, { isReading: true });
  const writer = new EventWriter(response, 5);
  await eventually(() => received.text.split(': keep-alive\n\n').length > 3);
  await writer.send(message('hello'));
  writer.end(undefined);
  await eventually(() => received.text.endsWith('event: end\ndata: {}\n\n'));
  assert.match(received.text, /^retry: \d+\n\n: keep-alive\n\n/);
  assert.match(received.text, /\nid: t:1\ndata: {"sequence":"1",.*"text":"hello"}}\n\n/);
});

test('[HOST-04] a reader that is behind gets no comments, so that it counts as stalled', async (t) => {
  const { response } = await exchange(t, { isReading: false });
  const writer = new EventWriter(response, 1);
  void writer.send(message('x'.repeat(1024 * 1024)));
  await eventually(() => response.stream.writableLength > 0);
  const { writableLength } = response.stream;
  const ticks = Promise.withResolvers<void>();
  let count = 0;
  const timer = setInterval(() => {
    count += 1;
    if (count === 50) ticks.resolve();
  }, 1);
  await ticks.promise;
  clearInterval(timer);
  assert.equal(response.stream.writableLength, writableLength);
});
