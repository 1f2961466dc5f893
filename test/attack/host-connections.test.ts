import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { eventually } from '@zerolatency/testing';
import { figure, size, TIMEOUT_MS } from './attack.ts';
import { type AttackedHost, startAttackedHost, turnsDuring } from './attacked-host.ts';
import { FRAME, frame, Http2Peer, headerBlock } from './http2-peer.ts';

const CHAT = '/zerolatency.agent.v1.AgentService/Chat';
const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
/** The fields of a request, and one message of gRPC or Connect. */
const GRPC = { ':method': 'POST', ':scheme': 'https', ':authority': 'localhost' };

interface Silent {
  readonly name: string;
  /** Resolves once the host has closed the connection. */
  open(host: AttackedHost): Promise<unknown>;
}

/** Also after an error. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** Sends the text, then a byte at a time, until the host has closed the connection. */
async function drip(host: AttackedHost, text: string): Promise<void> {
  const { port, ca } = host;
  const options = { host: '127.0.0.1', servername: 'localhost', port, ca };
  const socket = connectTls({ ...options, ALPNProtocols: ['http/1.1'] });
  socket.on('error', () => {});
  socket.resume();
  socket.write(text);
  const timer = setInterval(() => socket.write('x'), 20);
  await closed(socket);
  clearInterval(timer);
}

const SILENT: readonly Silent[] = [
  {
    name: 'TCP without TLS',
    async open({ port }) {
      const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
      socket.resume();
      await closed(socket);
    },
  },
  {
    name: 'half a TLS handshake',
    async open({ port }) {
      const socket = connectTcp(port, '127.0.0.1').on('error', () => {});
      // The head of a ClientHello that never comes whole.
      socket.write(Buffer.from('160301020001000001fc0303', 'hex'));
      socket.resume();
      await closed(socket);
    },
  },
  {
    name: 'HTTP/2 without a request',
    async open(host) {
      const peer = await Http2Peer.open(host);
      await peer.closed;
    },
  },
  { name: 'headers of HTTP/1.1 in drips', open: (host) => drip(host, 'GET / HTTP/1.1\r\nx: ') },
  {
    name: 'a body of HTTP/1.1 in drips',
    open: async (host) =>
      drip(
        host,
        `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/connect+json\r\n` +
          `authorization: Bearer ${await host.issuer.token({ user: randomUUID() })}\r\ncontent-length: 100000\r\n\r\n` +
          // The head of a message that is longer than the time allows.
          '\0\0\0\x7f\x7f',
      ),
  },
];

test('[HOST-12] silent and slow connections are closed, and a quiet stream is not', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t, {
    settings: {
      'rpc.connections.handshake': '2s',
      'rpc.connections.idle': '2s',
      'rpc.connections.stalled': '2s',
      'rpc.connections.perAddress': 1000,
      'rpc.connections.maxUnproved': 1000,
    },
  });
  const headers = { authorization: `Bearer ${await host.issuer.token({ user: 'quiet' })}` };
  const leaving = new AbortController();
  const quiet = host
    .client()
    .chat({ start: { text: 'hang' } }, { headers, signal: leaving.signal })
    [Symbol.asyncIterator]();
  await quiet.next();
  const count = size({ short: 10, long: 60 });
  const attack = Promise.all(
    SILENT.flatMap(({ open }) => Array.from({ length: count }, () => open(host))),
  );
  const turns = await turnsDuring(host, attack);
  await attack;
  assert.deepEqual(turns.failures, []);
  const opened = count * SILENT.length;
  // The bodies are stalled; all others show no token.
  const [stalled = 0, handshakes = 0] = await Promise.all(
    ['stalled', 'handshake'].map((reason) => host.metric('zl_rpc_cut_total', { reason })),
  );
  assert.ok(stalled > 0);
  assert.equal(stalled + handshakes, opened, 'a cut is not counted');
  assert.equal(await host.metric('zl_host_turns_running'), 1, 'the quiet stream was closed');
  leaving.abort();
  await assert.rejects(Promise.resolve(quiet.next()));
  await eventually(async () => (await host.metric('zl_rpc_connections_open')) === 0);
  const about = { attack: 'silent and slow connections' };
  figure(t, { ...about, name: 'connections, all closed', value: opened, unit: 'connections' });
  figure(t, { ...about, name: 'turns meanwhile, all done', value: turns.done, unit: 'turns' });
});

/** Anybody may open it, and it stays open. */
function openStream(): Buffer {
  const fields = { ...GRPC, ':path': REFLECTION, 'content-type': 'application/grpc' };
  return frame(FRAME.headers, { flags: 4, stream: 1, payload: headerBlock(fields) });
}

const FLOODS: Readonly<Record<string, (index: number) => Buffer>> = {
  PING: () => frame(FRAME.ping, { payload: Buffer.alloc(8) }),
  GOAWAY: (index) => {
    if (index === 0) return openStream();
    return frame(FRAME.goaway, { payload: Buffer.alloc(8) });
  },
  SETTINGS: () => frame(FRAME.settings, { payload: Buffer.from([0, 4, 0, 1, 0, 0]) }),
  'rapid reset': (index) => {
    const stream = 2 * index + 1;
    const payload = headerBlock({ ...GRPC, ':path': CHAT, 'content-type': 'application/grpc' });
    return Buffer.concat([
      frame(FRAME.headers, { flags: 4, stream, payload }),
      frame(FRAME.reset, { stream, payload: Buffer.from([0, 0, 0, 8]) }),
    ]);
  },
  'bad tokens': (index) => {
    const fields = { ...GRPC, ':path': CHAT, 'content-type': 'application/grpc' };
    const payload = headerBlock({ ...fields, authorization: 'Bearer a.b.c' });
    return frame(FRAME.headers, { flags: 5, stream: 2 * index + 1, payload });
  },
  CONTINUATION: (index) => {
    if (index > 0)
      return frame(FRAME.continuation, { stream: 1, payload: headerBlock({ a: 'b' }) });
    return frame(FRAME.headers, { stream: 1, payload: headerBlock(GRPC) });
  },
  'empty DATA': (index) => {
    const payload = headerBlock({ ...GRPC, ':path': CHAT, 'content-type': 'application/grpc' });
    if (index === 0) return frame(FRAME.headers, { flags: 4, stream: 1, payload });
    return frame(FRAME.data, { stream: 1 });
  },
};

const MOST_FRAMES = size({ short: 5_000, long: 50_000 });

/** Sends batches, each after the host has answered the one before, so that no queue fills up. */
async function flood(t: TestContext, host: AttackedHost, make: (index: number) => Buffer) {
  const peer = await Http2Peer.open(host);
  t.after(() => peer.close());
  let sent = 0;
  while (peer.isOpen && sent < MOST_FRAMES) {
    const batch = Array.from({ length: 50 }, () => make(sent++));
    const pongs = peer.count(FRAME.ping);
    peer.socket.write(Buffer.concat([...batch, frame(FRAME.ping, { payload: Buffer.alloc(8) })]));
    await Promise.race([peer.closed, peer.until(() => peer.count(FRAME.ping) > pongs)]);
  }
  return { peer, sent };
}

test('[HOST-12] a flood of frames ends its connection, and no turn fails', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t);
  for (const [name, make] of Object.entries(FLOODS)) {
    const attack = flood(t, host, make);
    const turns = await turnsDuring(host, attack);
    const { peer, sent } = await attack;
    assert.equal(peer.isOpen, false, `${name}: open after ${sent} frames`);
    assert.deepEqual(turns.failures, [], name);
    figure(t, {
      attack: `flood of ${name}`,
      ...{ name: 'frames until closed', value: sent, unit: 'frames' },
    });
  }
  assert.ok((await host.metric('zl_rpc_cut_total', { reason: 'flood' })) >= 4);
  const refusals = host.log().split('"error_id":"identity.invalid"').length - 1;
  assert.ok(refusals > 0 && refusals <= 60, `${refusals} lines of log`);
});

/** Valid frames of which Node hands up nothing. */
const UNSEEN: Readonly<Record<string, Buffer>> = {
  WINDOW_UPDATE: frame(FRAME.windowUpdate, { payload: Buffer.from([0, 0, 0, 1]) }),
  PRIORITY: frame(FRAME.priority, { stream: 3, payload: Buffer.from([0, 0, 0, 0, 1]) }),
  'unknown frames': frame(99),
};

test('[HOST-12] a flood of frames that Node does not hand up ends its connection, and no turn fails', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const host = await startAttackedHost(t);
  for (const [name, one] of Object.entries(UNSEEN)) {
    const peers = await Promise.all(
      Array.from({ length: size({ short: 2, long: 8 }) }, () => Http2Peer.open(host)),
    );
    const attack = Promise.all(peers.map((peer) => floodUnseen(peer, one)));
    const turns = await turnsDuring(host, attack);
    const sent = (await attack).reduce((sum, each) => sum + each, 0);
    assert.deepEqual(turns.failures, [], name);
    // nghttp2 ends the connection for other frames before our bound on bytes does.
    if (name === 'WINDOW_UPDATE') {
      assert.equal(await host.metric('zl_rpc_cut_total', { reason: 'flood' }), peers.length);
    }
    const about = { attack: `flood of ${name}` };
    figure(t, { ...about, name: 'frames until closed', value: sent, unit: 'frames' });
    figure(t, { ...about, name: 'turns meanwhile, all done', value: turns.done, unit: 'turns' });
  }
});

/** Sends until the host closes the connection. */
async function floodUnseen(peer: Http2Peer, one: Buffer): Promise<number> {
  const frames = 2000;
  const batch = Buffer.alloc(one.length * frames, one);
  peer.socket.write(openStream());
  let sent = 0;
  while (peer.isOpen) {
    sent += frames;
    const written = new Promise((resolve) => peer.socket.write(batch, resolve));
    await Promise.race([peer.closed, written]);
    // The answer can be read between two batches.
    await new Promise(setImmediate);
  }
  return sent;
}
