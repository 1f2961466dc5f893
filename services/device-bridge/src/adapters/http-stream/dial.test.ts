import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { encodeRecord, MAX_POST_RECORDS, RecordReader } from '@zerolatency/frame';
import { eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import type { SocketEnd } from '../../ports.ts';
import { streamDial } from './dial.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const OPENED = encodeRecord({ case: 'opened', value: { id: 'stream-1', maxPostBytes: 100 } });
const frame = (bytes: number) => encodeRecord({ case: 'frame', value: Buffer.alloc(bytes, 7) });

/** A relay's half that the test plays, and a bridge's stream to it. */
async function streamTo(
  t: TestContext,
  { down, timeoutMs = 20_000 }: { down: Answer; timeoutMs?: number },
) {
  const authority = await makeAuthority(tempDir(t));
  const { cert, key, ca } = await authority.server();
  const posts: { sequence: number; cases: unknown[]; bytes: number }[] = [];
  const relay = {
    posts,
    /** Called with the body, before the POST is counted. */
    up: (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(204).end(),
  };
  const server = createServer({ cert, key }, async (request, response) => {
    if (request.url === '/v1/device/down') {
      down(request, response);
      return;
    }
    const body = await buffer(request);
    const { value = [] } = new RecordReader(1_000_000).read(body);
    const sequence = Number(request.headers['zl-sequence']);
    assert.equal(request.headers['zl-stream'], 'stream-1');
    posts.push({ sequence, cases: value.map(({ case: kind }) => kind), bytes: body.length });
    relay.up(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const heard: string[] = [];
  let end: SocketEnd | undefined;
  const socket = streamDial(() => ({ ca, timeoutMs }))(`wss://localhost:${port}/v1/device`, {
    onOpen: () => heard.push('open'),
    onMessage: (bytes) => heard.push(`${bytes.length} bytes`),
    onSign: () => heard.push('sign'),
    onClose: (ended) => {
      end = ended;
    },
  });
  t.after(() => socket.terminate());
  return { relay, socket, heard, ended: () => eventually(() => end) };
}

const opens: Answer = (_request, response) => void response.writeHead(200).write(OPENED);

test('[BRG-08] frames that are sent while a POST is on its way share the next ones', async (t) => {
  const { relay, socket, heard } = await streamTo(t, { down: opens });
  const waiting: ServerResponse[] = [];
  relay.up = (_request, response) => void waiting.push(response);
  socket.send(Buffer.alloc(10));
  await eventually(() => heard.includes('open') && waiting.length === 1);
  for (let n = 0; n < 5; n++) socket.send(Buffer.alloc(40));
  assert.ok(socket.bufferedBytes > 150);
  relay.up = (_request, response) => void response.writeHead(204).end();
  waiting[0]?.writeHead(204).end();
  await eventually(() => socket.bufferedBytes === 0);
  assert.deepEqual(
    relay.posts.map(({ sequence, cases }) => [sequence, cases.length]),
    [
      [0, 1],
      [1, 2],
      [2, 2],
      [3, 1],
    ],
  );
  assert.ok(relay.posts.every(({ bytes }) => bytes <= 100));
});

test('[BRG-08] a relay that floods pings and answers no POST is owed one pong', async (t) => {
  const ping = encodeRecord({ case: 'ping', value: {} });
  const pings = Buffer.concat(Array.from({ length: 10_000 }, () => ping));
  const { relay, socket, heard } = await streamTo(t, {
    down: (_request, response) => {
      response.writeHead(200).write(OPENED);
      response.write(pings);
    },
  });
  relay.up = () => {};
  await eventually(() => heard.filter((what) => what === 'sign').length === 10_000);
  assert.ok(socket.bufferedBytes < 100, `${socket.bufferedBytes} bytes`);
});

test('[BRG-08] a POST carries no more records than a relay takes', async (t) => {
  const opened = encodeRecord({ case: 'opened', value: { id: 'stream-1', maxPostBytes: 1e6 } });
  const { relay, socket } = await streamTo(t, {
    down: (_request, response) => void response.writeHead(200).write(opened),
  });
  for (let n = 0; n < 2 * MAX_POST_RECORDS; n++) socket.send(Buffer.alloc(1));
  await eventually(() => socket.bufferedBytes === 0);
  assert.deepEqual(
    relay.posts.map(({ cases }) => cases.length),
    [MAX_POST_RECORDS, MAX_POST_RECORDS],
  );
});

test('[BRG-08] a POST whose connection breaks is sent again with its number', async (t) => {
  const { relay, socket } = await streamTo(t, { down: opens });
  relay.up = (request) => {
    relay.up = (_request, response) => void response.writeHead(204).end();
    request.socket.destroy();
  };
  socket.send(Buffer.alloc(10));
  await eventually(() => socket.bufferedBytes === 0);
  assert.deepEqual(
    relay.posts.map(({ sequence }) => sequence),
    [0, 0],
  );
});

test('[BRG-08] a POST that stays refused ends the stream, with the last record if there is one', async (t) => {
  for (const isTold of [true, false]) {
    let response: ServerResponse | undefined;
    const { relay, socket, ended } = await streamTo(t, {
      down: (_request, answer) => {
        response = answer;
        answer.writeHead(200).write(OPENED);
      },
    });
    relay.up = (_request, answer) => {
      answer.writeHead(404).end();
      const value = { code: 4429, reason: 'limit.exceeded' };
      if (isTold) response?.end(encodeRecord({ case: 'close', value }));
    };
    socket.send(Buffer.alloc(10));
    const end = await ended();
    if (isTold) assert.deepEqual(end, { code: 4429, reason: 'limit.exceeded' });
    else assert.match(`${end.code} ${end.reason}`, /^1006 .*HTTP 404/);
  }
});

test('[BRG-08] heartbeats of the relay are answered, and its frames are heard in order', async (t) => {
  const { relay, heard } = await streamTo(t, {
    down: (_request, response) => {
      response.writeHead(200);
      const ping = encodeRecord({ case: 'ping', value: {} });
      response.write(Buffer.concat([OPENED, frame(3), ping, frame(5)]));
    },
  });
  await eventually(() => relay.posts.length === 1);
  assert.deepEqual(heard, ['open', '3 bytes', 'sign', '5 bytes']);
  assert.deepEqual(relay.posts[0]?.cases, ['pong']);
});

test('[BRG-08] says that a proxy may hold back an answer that does not arrive', async (t) => {
  const { socket, ended } = await streamTo(t, { down: () => {}, timeoutMs: 1_000 });
  await eventually(() => socket.isReached);
  const { code, reason } = await ended();
  assert.equal(code, 1006);
  assert.match(reason, /a proxy on the way may hold it back/);
});

for (const [what, status, body, expected] of [
  ['of the relay', 503, '{"id":"server.draining","message":""}', '1013 server.draining (HTTP 503)'],
  ['of a relay without streams', 404, '{"id":"request.invalid"}', '1006 HTTP 404'],
  ['of a proxy', 403, '<html>blocked</html>', '1006 HTTP 403'],
] as const) {
  test(`[BRG-08] tells a refusal ${what} from others`, async (t) => {
    const down: Answer = (_request, response) => void response.writeHead(status).end(body);
    const { ended } = await streamTo(t, { down });
    const { code, reason } = await ended();
    assert.equal(`${code} ${reason}`, expected);
  });
}

test('[BRG-08] a stream that brings no records, or breaks off, is left', async (t) => {
  const garbage: Answer = (_request, response) =>
    void response.writeHead(200).write(Buffer.alloc(20, 0xff));
  assert.equal((await (await streamTo(t, { down: garbage })).ended()).code, 1002);
  const cut: Answer = (request, response) => {
    response.writeHead(200).write(OPENED);
    setImmediate(() => request.socket.destroy());
  };
  assert.equal((await (await streamTo(t, { down: cut })).ended()).code, 1006);
});
