import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:https';
import { type TestContext, test } from 'node:test';
import { encodeRecord, MAX_POST_RECORDS } from '@zerolatency/frame';
import { eventually } from '@zerolatency/testing';
import { ENGINES, engineWorld, localBalancers, NO_BALANCERS } from '../../../test/engine-world.ts';
import { closeOf, openTls, UPGRADE } from '../../../test/raw-socket.ts';
import type { Balancers } from '../../sockets/socket-engine.ts';
import { openWsEngine } from '../ws/engine.ts';

const BODY = encodeRecord({ case: 'frame', value: Buffer.from('hello') });
const STREAM_HEADERS = ['Host: localhost', 'Content-Type: application/octet-stream'];

async function streamWorld(t: TestContext, balancers: Balancers = NO_BALANCERS) {
  const world = await engineWorld(t, openWsEngine, balancers);
  const target = { port: world.engine.port, ca: world.authority.ca };
  /** A connection on which the test writes HTTP itself. */
  const raw = async () => {
    const socket = await openTls(target);
    t.after(() => socket.destroy());
    let read = '';
    socket.on('data', (bytes) => {
      read += bytes.toString('latin1');
    });
    const says = (...lines: string[]) =>
      socket.write([...lines, ...STREAM_HEADERS, '', ''].join('\r\n'));
    return { socket, says, read: () => read };
  };
  return { ...world, raw };
}

const idOf = (body: string) => (body === '' ? '' : JSON.parse(body).id);

test('[BRG-08] a POST that names no open stream is refused, and loses its connection', async (t) => {
  const { connectStream, streamRequests, arrivals, recorders } = await streamWorld(t);
  const { client } = await connectStream();
  const own = client.id;
  client.id = `${own.slice(0, -1)}${own.endsWith('A') ? 'B' : 'A'}`;
  for (const foreign of [client.id, '', 'x'.repeat(4000)]) {
    client.id = foreign;
    const { status, body } = await client.postAs({ sequence: 0, body: BODY });
    assert.deepEqual([status, idOf(body)], [404, 'stream.not_found']);
  }
  // The connection of the stream, and one for each refusal.
  await eventually(() => arrivals.filter(({ timesGone }) => timesGone === 1).length === 3);
  assert.deepEqual(streamRequests, ['none', ...Array(3).fill('stream.not_found')]);
  assert.deepEqual(recorders[0]?.messages, []);
});

test('[BRG-08] a POST that is sent again changes nothing', async (t) => {
  const { connectStream } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  for (const sequence of [0, 0, 1, 0, 1, 2]) {
    assert.equal((await client.postAs({ sequence, body: BODY })).status, 204);
  }
  assert.equal(recorder.messages.length, 3);
});

test('[BRG-08] a POST that is sent again counts toward the rate, and is held to the size limit', async (t) => {
  const { connectStream } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  for (const _ of [1, 2, 3]) await client.postAs({ sequence: 0, body: BODY });
  assert.equal(recorder.readBytes, 3 * BODY.length);
  const closed = once(client, 'close');
  const headers = { 'content-length': '9000000000' };
  const { status } = await client.postAs({ sequence: 0, body: BODY, headers, agent: false });
  const [code] = await closed;
  assert.deepEqual([status, code], [413, 1009]);
});

test('[BRG-08] a POST with too many records ends the stream before it is whole', async (t) => {
  const { connectStream, raw } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  const pong = encodeRecord({ case: 'pong', value: {} });
  const most = Buffer.concat(Array.from({ length: MAX_POST_RECORDS }, () => pong));
  assert.equal((await client.postAs({ sequence: 0, body: most })).status, 204);
  const closed = once(client, 'close');
  const flood = await raw();
  flood.says(
    ...['POST /v1/device/up HTTP/1.1', `zl-stream: ${client.id}`, 'zl-sequence: 1'],
    `Content-Length: ${most.length + 100}`,
  );
  flood.socket.write(Buffer.concat([most, pong]));
  const [code] = await closed;
  assert.deepEqual([code, recorder.ends], [4400, ['malformed']]);
});

for (const [what, sequence] of Object.entries({ 'a gap': '2', 'no number': '-1', none: '' })) {
  test(`[BRG-08] a POST out of turn (${what}) ends the stream with 4400`, async (t) => {
    const { connectStream } = await streamWorld(t);
    const { client, recorder } = await connectStream();
    const closed = once(client, 'close');
    const headers = { 'zl-sequence': sequence };
    const { status } = await client.postAs({ sequence: 0, body: BODY, headers, agent: false });
    const [code, reason] = await closed;
    assert.deepEqual([status, code, String(reason)], [409, 4400, 'frame.malformed']);
    assert.deepEqual([recorder.messages, recorder.ends], [[], ['malformed']]);
  });
}

for (const [what, body] of Object.entries({
  'that is empty': Buffer.alloc(0),
  'that is no record': Buffer.alloc(20, 0xff),
  'that ends within a record': BODY.subarray(0, 4),
  'with a record of the relay': encodeRecord({ case: 'opened', value: { id: 'x' } }),
})) {
  test(`[BRG-08] a POST ${what} ends the stream with 4400`, async (t) => {
    const { connectStream } = await streamWorld(t);
    const { client, recorder } = await connectStream();
    client.post(body);
    const [code] = await once(client, 'close');
    assert.equal(code, 4400);
    assert.deepEqual([recorder.messages, recorder.ends], [[], ['malformed']]);
  });
}

test('[BRG-08] a POST whose connection breaks counts only when it is sent again', async (t) => {
  const { connectStream, raw } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  const broken = await raw();
  const head = [`zl-stream: ${client.id}`, 'zl-sequence: 0', `Content-Length: ${BODY.length + 9}`];
  broken.says('POST /v1/device/up HTTP/1.1', ...head);
  broken.socket.write(BODY);
  await eventually(() => recorder.readBytes >= BODY.length);
  assert.deepEqual(recorder.messages, []);
  const closed = closeOf(broken.socket);
  // The relay has not noticed that the first connection is dead.
  assert.equal((await client.postAs({ sequence: 0, body: BODY })).status, 204);
  await closed;
  assert.equal(recorder.messages.length, 1);
  assert.equal((await client.postAs({ sequence: 1, body: BODY })).status, 204);
});

test('[BRG-08] a body that never ends can be cut, and ends with its stream', async (t) => {
  const { connectStream, raw, arrivals } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  const post = async () => {
    const slow = await raw();
    slow.says(
      ...['POST /v1/device/up HTTP/1.1', `zl-stream: ${client.id}`, 'zl-sequence: 0'],
      'Content-Length: 1000',
    );
    const { readBytes } = recorder;
    slow.socket.write('x');
    await eventually(() => recorder.readBytes > readBytes);
    return slow.socket;
  };
  const first = closeOf(await post());
  arrivals.at(-1)?.cut();
  await first;
  const second = closeOf(await post());
  recorder.socket!.close(4408, 'identity.missing');
  await second;
});

test('[BRG-08] a stream ends with its response, also while POSTs go on', async (t) => {
  const { connectStream, arrivals } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  assert.equal((await client.postAs({ sequence: 0, body: BODY })).status, 204);
  arrivals[0]?.cut();
  await eventually(() => recorder.ends.length === 1);
  const { status } = await client.postAs({ sequence: 1, body: BODY, agent: false });
  assert.equal(status, 404);
  assert.deepEqual([recorder.ends, recorder.messages.length], [['closed'], 1]);
});

test('[BRG-08] a paused stream takes no POST before it has answered the one before', async (t) => {
  const { connectStream } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  recorder.onMessageDo = (_bytes, socket) => socket.pause();
  void client.postAs({ sequence: 0, body: BODY }).catch(() => {});
  await eventually(() => recorder.messages.length === 1);
  const closed = once(client, 'close');
  void client.postAs({ sequence: 1, body: BODY, agent: false }).catch(() => {});
  const [code] = await closed;
  assert.deepEqual([code, recorder.messages.length], [4400, 1]);
});

test('[BRG-08] a POST sent again to a paused stream waits for its answer in place of the first', async (t) => {
  const { connectStream } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  recorder.onMessageDo = (_bytes, socket) => socket.pause();
  const first = client.postAs({ sequence: 0, body: BODY, agent: false });
  await eventually(() => recorder.messages.length === 1);
  const second = client.postAs({ sequence: 0, body: BODY, agent: false });
  await assert.rejects(first);
  recorder.onMessageDo = () => {};
  recorder.socket!.resume();
  assert.equal((await second).status, 204);
  assert.equal((await client.postAs({ sequence: 1, body: BODY })).status, 204);
  assert.equal(recorder.messages.length, 2);
});

test('[BRG-08] a page in a browser cannot open a stream', async (t) => {
  const { raw, requests, streamRequests } = await streamWorld(t);
  const attempts: [number, string, ...string[]][] = [
    [403, 'POST /v1/device/down HTTP/1.1', 'Origin: https://page.test', 'Content-Length: 0'],
    [403, 'OPTIONS /v1/device/down HTTP/1.1', 'Origin: https://page.test'],
    [405, 'GET /v1/device/down HTTP/1.1'],
    [415, 'POST /v1/device/down HTTP/1.1', 'Content-Length: 0', 'Content-Type: text/plain'],
    [403, 'POST /v1/device/up HTTP/1.1', 'Origin: null', 'Content-Length: 0'],
  ];
  for (const [status, ...lines] of attempts) {
    const { socket, says, read } = await raw();
    if (status === 415) socket.write([...lines, 'Host: localhost', '', ''].join('\r\n'));
    else says(...lines);
    await closeOf(socket);
    assert.match(read(), new RegExp(`^HTTP/1.1 ${status} `));
    assert.doesNotMatch(read(), /access-control/i);
  }
  assert.deepEqual(requests, []);
  assert.deepEqual(streamRequests, Array(5).fill('request.invalid'));
});

test('[BRG-08] requests of which a proxy may see another end are refused', async (t) => {
  const { connectStream, raw } = await streamWorld(t);
  const { client, recorder } = await connectStream();
  const head = ['POST /v1/device/up HTTP/1.1', `zl-stream: ${client.id}`, 'zl-sequence: 0'];
  for (const [status, ...lengths] of [
    [400, 'Content-Length: 3', 'Content-Length: 12'],
    [400, `Content-Length: ${BODY.length}`, 'Transfer-Encoding: chunked'],
    [400, 'Content-Length: +12'],
    [411, 'Transfer-Encoding: chunked'],
    [411],
  ] as [number, ...string[]][]) {
    const { socket, says, read } = await raw();
    says(...head, ...lengths);
    socket.write(BODY);
    await closeOf(socket);
    assert.match(read(), new RegExp(`^HTTP/1.1 ${status} `));
  }
  assert.deepEqual(recorder.messages, []);
});

test('[BRG-08] a connection carries one stream and nothing else', async (t) => {
  const { connectStream, raw, recorders } = await streamWorld(t);
  const open = ['POST /v1/device/down HTTP/1.1', 'Content-Length: 0'];
  for (const second of [open, ['POST /v1/device/up HTTP/1.1', 'Content-Length: 0']]) {
    const { socket, says, read } = await raw();
    says(...open);
    await eventually(() => read().includes('200 OK'));
    says(...second);
    await closeOf(socket);
    await eventually(() => recorders.at(-1)?.ends.length === 1);
  }
  const { client } = await connectStream();
  const post = [`zl-stream: ${client.id}`, `Content-Length: ${BODY.length}`];
  for (const [sequence, status] of [400, 404].entries()) {
    const { socket, says, read } = await raw();
    says('POST /v1/device/up HTTP/1.1', ...post, `zl-sequence: ${sequence}`);
    socket.write(BODY);
    await eventually(() => read().includes('204 No Content'));
    if (status === 400) says(...open);
    else socket.write(UPGRADE);
    await closeOf(socket);
    assert.match(read(), new RegExp(`HTTP/1.1 ${status} `));
  }
  assert.equal(recorders.length, 3);
});

test('[BRG-08] a stream is carried by a few connections at a time', async (t) => {
  const { connectStream, arrivals } = await streamWorld(t);
  const { client } = await connectStream();
  const agents = Array.from({ length: 6 }, () => new Agent({ keepAlive: true }));
  t.after(() => {
    for (const agent of agents) agent.destroy();
  });
  for (const [sequence, agent] of agents.entries()) {
    assert.equal((await client.postAs({ sequence, body: BODY, agent })).status, 204);
  }
  await eventually(() => arrivals.filter(({ timesGone }) => timesGone === 1).length === 2);
});

test('[BRG-08] proxies are told to keep nothing of a stream, and get more than they hold back', async (t) => {
  const { raw } = await streamWorld(t);
  const { says, read } = await raw();
  says('POST /v1/device/down HTTP/1.1', 'Content-Length: 0');
  await eventually(() => read().length > 4096);
  const [head = ''] = read().split('\r\n\r\n', 1);
  for (const line of [
    'content-type: application/octet-stream',
    'cache-control: no-store, no-transform',
    'x-accel-buffering: no',
    'Transfer-Encoding: chunked',
  ]) {
    assert.ok(head.includes(line), line);
  }
});

test('[BRG-08] a stream behind a balancer has the address that the balancer names', async (t) => {
  const { dialStream, requests, arrivals } = await streamWorld(t, localBalancers('forwarded-for'));
  const client = dialStream('/v1/device', { 'x-forwarded-for': '198.51.100.7' });
  await once(client, 'open');
  assert.equal(requests[0]?.address, '198.51.100.7');
  for (const sequence of [0, 1]) {
    assert.equal((await client.postAs({ sequence, body: BODY })).status, 204);
  }
  // Another device may be behind the balancer's next request, so none shares a connection.
  await eventually(() => arrivals.filter(({ timesGone }) => timesGone === 1).length === 2);
  assert.deepEqual(
    arrivals.map(({ names }) => names),
    [['198.51.100.7'], [], []],
  );
  client.id = 'unknown';
  assert.equal((await client.postAs({ sequence: 0, body: BODY })).status, 404);
  assert.deepEqual(arrivals.at(-1)?.names, ['198.51.100.7']);
});

test('[BRG-08] the connection of a stream vouches for those of its POSTs', async (t) => {
  const { connectStream, requests, arrivals } = await streamWorld(t);
  const { client } = await connectStream();
  await client.postAs({ sequence: 0, body: BODY });
  assert.deepEqual(
    arrivals.map(({ isProved }) => isProved),
    [false, false],
  );
  requests[0]?.arrival.proved();
  assert.deepEqual(
    arrivals.map(({ isProved }) => isProved),
    [true, true],
  );
  await client.postAs({ sequence: 1, body: BODY, agent: false });
  assert.deepEqual(
    arrivals.map(({ isProved }) => isProved),
    [true, true, true],
  );
});

for (const [name, open] of ENGINES.filter(([engine]) => engine === 'uws')) {
  test(`[BRG-08] ${name}: HTTP streams are answered with 404`, async (t) => {
    const { dialStream } = await engineWorld(t, open);
    const [, response] = await once(dialStream(), 'unexpected-response');
    assert.equal(response.statusCode, 404);
  });
}
