import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, createServer } from 'node:http2';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import { Connection } from './connection.ts';
import type { ListenerLimits } from './connections.ts';
import { type HttpServer, type HttpServerOptions, listen } from './http-server.ts';

const HOUR_MS = 3_600_000;
const LIMITS: ListenerLimits = {
  ...{ max: 1000, perAddress: 1000, connectsPerAddress: 1000, maxUnproved: 1000 },
  ...{ maxStreams: 1000, maxUnprovedStreams: 1000 },
  ...{ handshakeMs: HOUR_MS, idleMs: HOUR_MS, stalledMs: HOUR_MS },
};

interface Listening {
  readonly server: HttpServer;
  readonly cuts: string[];
}

/** The handler proves the connection unless another is given. */
async function listening(
  t: TestContext,
  limits: Partial<ListenerLimits>,
  handler?: HttpServerOptions['handler'],
): Promise<Listening> {
  const cuts: string[] = [];
  const server: HttpServer = await listen({
    ...{ host: '127.0.0.1', port: 0, tls: undefined, limits: { ...LIMITS, ...limits } },
    observer: {
      cut: (reason) => cuts.push(reason),
      fewDescriptors: () => {},
      accepting: () => {},
    },
    handler: (request, response) => {
      server.connectionOf(request)?.prove();
      if (handler === undefined) response.end('served');
      else handler(request, response);
    },
  });
  t.after(() => server.close(AbortSignal.abort()));
  return { server, cuts };
}

async function silent(t: TestContext, { server }: Listening): Promise<Socket> {
  const socket = connectTcp(server.port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  socket.resume();
  await once(socket, 'connect');
  return socket;
}

function open(t: TestContext, { server }: Listening, from = '127.0.0.1'): ClientHttp2Session {
  const createConnection = () =>
    connectTcp({ port: server.port, host: '127.0.0.1', localAddress: from });
  const session = connectHttp2(server.url, { createConnection, maxOutstandingPings: 1000 });
  session.on('error', () => {});
  t.after(() => session.destroy());
  return session;
}

/** What the server answers, or undefined when it refuses the connection. */
async function ask(session: ClientHttp2Session): Promise<string | undefined> {
  const stream = session.request({ ':path': '/' });
  let answer = '';
  try {
    for await (const chunk of stream) answer += chunk;
  } catch {
    return undefined;
  }
  return answer || undefined;
}

test('[HOST-12] beyond maxUnproved the oldest connection without a proof makes room', async (t) => {
  const host = await listening(t, { maxUnproved: 2 });
  const proved = open(t, host);
  assert.equal(await ask(proved), 'served');
  const oldest = await silent(t, host);
  const younger = await silent(t, host);
  const newest = await silent(t, host);
  await once(oldest, 'close');
  assert.deepEqual(host.cuts, ['evicted']);
  assert.deepEqual([younger.destroyed, newest.destroyed], [false, false]);
  assert.equal(host.server.connections.unproved, 2);
  assert.equal(await ask(proved), 'served');
});

test('[HOST-12] a proved connection makes room for nobody: in all, or of one address', async (t) => {
  const full = await listening(t, { max: 1 });
  const first = open(t, full);
  assert.equal(await ask(first), 'served');
  assert.equal(await ask(open(t, full, '127.0.0.2')), undefined);
  assert.equal(await ask(first), 'served');
  assert.deepEqual(full.cuts, ['total']);
  const crowded = await listening(t, { perAddress: 1 });
  assert.equal(await ask(open(t, crowded)), 'served');
  assert.equal(await ask(open(t, crowded)), undefined);
  assert.equal(await ask(open(t, crowded, '127.0.0.2')), 'served');
  assert.deepEqual(crowded.cuts, ['address']);
});

test('[HOST-12] an address that connects too often is refused, and others are served', async (t) => {
  // Ten seconds' worth may come at once.
  const host = await listening(t, { connectsPerAddress: 0.1 });
  const burst = open(t, host);
  assert.equal(await ask(burst), 'served');
  assert.equal(await ask(open(t, host)), undefined);
  assert.equal(await ask(open(t, host, '127.0.0.2')), 'served');
  assert.deepEqual(host.cuts, ['rate']);
});

test('[HOST-12] a connection without a stream is told to leave, and then closed', async (t) => {
  const host = await listening(t, { idleMs: 200 });
  const session = open(t, host);
  const left = once(session, 'goaway');
  const closed = once(session, 'close');
  assert.equal(await ask(session), 'served');
  const [code] = await left;
  assert.equal(code, 0);
  await closed;
  assert.deepEqual(host.cuts, ['idle']);
});

/** The preface, empty SETTINGS, and the headers of a GET that does not end. */
const QUIET_REQUEST = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from('000000040000000000', 'hex'),
  Buffer.from('000006010400000001828684410161', 'hex'),
]);

/** A connection with an open stream, whose clock the test moves. */
async function quietConnection(t: TestContext) {
  const clock = { nowMs: 0 };
  const begun = Promise.withResolvers<{ connection: Connection; socket: Socket }>();
  const server = createServer();
  let connection: Connection | undefined;
  server.prependListener('connection', (socket: Socket) => {
    const limits = LIMITS;
    const whom = { address: 'n', network: 'n' };
    const options = { ...whom, limits, clock: () => clock.nowMs, onProved: () => {} };
    const made = new Connection(socket, options);
    connection = made;
    server.once('session', (session) => made.attach(session));
    server.once('request', (request, response) => {
      made.begin(request, response, { isVerified: true });
      begun.resolve({ connection: made, socket });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    connection?.cut();
    server.close();
  });
  return { clock, begun: begun.promise, port: (server.address() as AddressInfo).port };
}

test('[HOST-12] a peer with open streams that says nothing is asked, and stays if it answers', async (t) => {
  const { clock, begun, port } = await quietConnection(t);
  const client = connectHttp2(`http://127.0.0.1:${port}`);
  client.on('error', () => {});
  t.after(() => client.destroy());
  client.request({ ':path': '/' }).on('error', () => {});
  const { connection, socket } = await begun;
  let asked = 0;
  client.on('ping', () => {
    asked += 1;
  });
  connection.overdue();
  const before = socket.bytesRead;
  clock.nowMs += 61_000;
  assert.equal(connection.overdue(), undefined);
  await eventually(() => asked === 1 && socket.bytesRead > before);
  clock.nowMs += 20_000;
  assert.equal(connection.overdue(), undefined);
});

test('[HOST-12] a peer with open streams that does not answer is silent', async (t) => {
  const { clock, begun, port } = await quietConnection(t);
  const client = connectTcp(port, '127.0.0.1').on('error', () => {});
  t.after(() => client.destroy());
  const heard: Buffer[] = [];
  client.on('data', (chunk) => heard.push(chunk));
  client.write(QUIET_REQUEST);
  const { connection } = await begun;
  connection.overdue();
  clock.nowMs += 61_000;
  assert.equal(connection.overdue(), undefined);
  // A PING: 8 bytes of payload, type 6.
  await eventually(() => Buffer.concat(heard).includes(Buffer.from('000008060000000000', 'hex')));
  clock.nowMs += 20_000;
  assert.equal(connection.overdue(), 'silent');
});

async function pinged(session: ClientHttp2Session): Promise<void> {
  await new Promise<void>((resolve) => session.ping(() => resolve()));
}

test('[HOST-12] PINGs that measure the path of a response are not a flood, and others are', {
  timeout: 60_000,
}, async (t) => {
  const host = await listening(t, {}, (request, response) => {
    if (request.url === '/quiet') return;
    const next = () => {
      if (!response.stream.destroyed) response.write('x'.repeat(200), () => setImmediate(next));
    };
    next();
  });
  const measuring = open(t, host);
  const stream = measuring.request({ ':path': '/' });
  stream.on('error', () => {});
  let pings = 0;
  for await (const _ of stream) {
    await pinged(measuring);
    pings += 1;
    if (pings === 500) break;
  }
  assert.deepEqual(host.cuts, []);
  const flooding = open(t, host);
  flooding.request({ ':path': '/quiet' }).on('error', () => {});
  await once(flooding, 'connect');
  for (let sent = 0; sent < 400; sent++) flooding.ping(() => {});
  await eventually(() => host.cuts.length > 0);
  assert.deepEqual(host.cuts, ['flood']);
});

test('[HOST-12] large bodies in small parts are not a flood, read or not, in both directions', async (t) => {
  const BYTES = 4_000_000;
  const host = await listening(t, { handshakeMs: 400 }, async (request, response) => {
    if (request.url === '/refused') {
      response.end('refused');
      return;
    }
    if (request.method === 'POST')
      await new Promise((resolve) => request.resume().on('end', resolve));
    response.end('x'.repeat(BYTES));
  });
  const session = open(t, host);
  for (const path of ['/read', '/refused']) {
    const stream = session.request({ ':method': 'POST', ':path': path });
    stream.on('error', () => {});
    const part = Buffer.alloc(200);
    for (let sent = 0; sent < BYTES && !stream.destroyed; sent += part.length) stream.write(part);
    stream.end();
    stream.resume();
    await once(stream, 'close');
  }
  assert.equal((await ask(session))?.length, BYTES);
  // It is cut by a sweep, which has looked at the other connection too.
  await once(await silent(t, host), 'close');
  assert.deepEqual(host.cuts, ['handshake']);
  assert.equal(session.destroyed, false);
});
