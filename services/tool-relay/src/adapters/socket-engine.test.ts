import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { ZlError } from '@zerolatency/errors';
import { eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import { WebSocket } from 'ws';
import type {
  Admission,
  OpenSocketEngine,
  Socket,
  SocketEndReason,
  SocketListener,
  UpgradeRequest,
} from '../sockets/socket-engine.ts';
import { loadNative, openUwsEngine } from './uws/engine.ts';
import { openWsEngine } from './ws/engine.ts';

const MAX_MESSAGE_BYTES = 64 * 1024;

/** Records what it hears. */
class Recorder implements SocketListener {
  readonly messages: Buffer[] = [];
  readonly ends: SocketEndReason[] = [];
  socket: Socket | undefined;
  pongs = 0;
  abandoned = 0;
  onMessageDo: (bytes: Buffer, socket: Socket) => void = () => {};

  onOpen(socket: Socket): void {
    this.socket = socket;
  }

  onMessage(bytes: Buffer): void {
    this.messages.push(Buffer.from(bytes));
    this.onMessageDo(bytes, this.socket!);
  }

  onPong(): void {
    this.pongs += 1;
  }

  onEnd(end: SocketEndReason): void {
    this.ends.push(end);
  }

  onAbandoned(): void {
    this.abandoned += 1;
  }
}

type Admit = (request: UpgradeRequest, recorder: Recorder) => Admission;

async function world(t: TestContext, open: OpenSocketEngine) {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const files = await authority.server();
  let material = { cert: files.cert, key: files.key, ca: files.ca };
  const recorders: Recorder[] = [];
  const requests: UpgradeRequest[] = [];
  const failures: unknown[] = [];
  const settings: { admit: Admit } = { admit: (_request, recorder) => ({ listener: recorder }) };
  const engine = await open({
    host: '127.0.0.1',
    port: 0,
    tls: { certFile: files.certFile, keyFile: files.keyFile, current: () => material },
    maxMessageBytes: MAX_MESSAGE_BYTES,
    idleTimeoutMs: 60_000,
    onFailure: (error) => failures.push(error),
    admit: (request) => {
      requests.push(request);
      const recorder = new Recorder();
      recorders.push(recorder);
      return settings.admit(request, recorder);
    },
  });
  t.after(() => engine.close());
  const dial = (path = '/v1/device', headers: Record<string, string> = {}) => {
    const url = `wss://localhost:${engine.port}${path}`;
    const client = new WebSocket(url, { ca: authority.ca, headers });
    t.after(() => client.terminate());
    client.on('error', () => {});
    return client;
  };
  const connect = async (path?: string) => {
    const index = recorders.length;
    const client = dial(path);
    await once(client, 'open');
    return { client, recorder: await eventually(() => recorders[index]) };
  };
  const renew = async () => {
    const next = await authority.server();
    copyFileSync(next.certFile, files.certFile);
    copyFileSync(next.keyFile, files.keyFile);
    material = { cert: next.cert, key: next.key, ca: next.ca };
    engine.reloadTls();
    return next;
  };
  return {
    engine,
    dial,
    connect,
    recorders,
    requests,
    failures,
    settings,
    renew,
    files,
    authority,
  };
}

/** Status and body of the answer to a refused upgrade. */
async function refusal(client: WebSocket): Promise<{ status: number; id: string }> {
  const [, response] = await once(client, 'unexpected-response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, id: JSON.parse(body).id };
}

const engines: [string, OpenSocketEngine][] = [['ws', openWsEngine]];
if ((await loadNative()) !== undefined) engines.unshift(['uws', openUwsEngine]);

for (const [name, open] of engines) {
  test(`[RLY-01] ${name}: a binary message arrives whole, and messages sent from its handler leave in order`, async (t) => {
    const { connect, requests } = await world(t, open);
    const { client, recorder } = await connect();
    recorder.onMessageDo = (bytes, socket) => {
      bytes[0] = 65;
      socket.send(bytes);
      socket.send(Buffer.from('next'));
    };
    const got: string[] = [];
    client.on('message', (data) => got.push(String(data)));
    client.send(Buffer.from('hello'));
    await eventually(() => got.length === 2);
    assert.deepEqual(got, ['Aello', 'next']);
    assert.equal(requests[0]?.endpoint, 'device');
    assert.equal(requests[0]?.address, '127.0.0.1');
  });

  test(`${name}: messages of the maximum size and empty ones pass both ways`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    recorder.onMessageDo = (bytes, socket) => socket.send(bytes);
    const got: Buffer[] = [];
    client.on('message', (data) => got.push(data as Buffer));
    client.send(Buffer.alloc(MAX_MESSAGE_BYTES, 7));
    client.send(Buffer.alloc(0));
    await eventually(() => got.length === 2);
    assert.deepEqual(got[0], Buffer.alloc(MAX_MESSAGE_BYTES, 7));
    assert.equal(got[1]?.length, 0);
  });

  test(`[RLY-01] ${name}: a text message ends the socket with 1003`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.send('text');
    const [code] = await once(client, 'close');
    assert.equal(code, 1003);
    assert.deepEqual(recorder.ends, ['text_message']);
    assert.deepEqual(recorder.messages, []);
  });

  test(`[RLY-01] ${name}: a message over the size limit ends the socket with 1009`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.send(Buffer.alloc(MAX_MESSAGE_BYTES + 1));
    const [code] = await once(client, 'close');
    assert.equal(code, 1009);
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['too_large']);
  });

  test(`[RLY-01] ${name}: a message far over the size limit ends the socket before it has arrived`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.send(Buffer.alloc(100 * MAX_MESSAGE_BYTES));
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['too_large']);
  });

  test(`${name}: fragments form one message and count together`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.send(Buffer.from('one '), { fin: false, binary: true });
    client.send(Buffer.from('two'), { fin: true });
    await eventually(() => recorder.messages.length === 1);
    assert.equal(String(recorder.messages[0]), 'one two');
    for (let i = 0; i < 3; i++) client.send(Buffer.alloc(MAX_MESSAGE_BYTES), { fin: false });
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['too_large']);
  });

  test(`${name}: closing a socket sends code and reason and silences its listener`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    const closed = once(client, 'close');
    const got: string[] = [];
    client.on('message', (data) => got.push(String(data)));
    recorder.socket!.send(Buffer.from('last'));
    recorder.socket!.close(4400, 'frame.malformed');
    recorder.socket!.send(Buffer.from('never'));
    recorder.socket!.ping();
    recorder.socket!.close(1000, 'again');
    recorder.socket!.terminate();
    client.send(Buffer.from('late'));
    const [code, reason] = await closed;
    assert.deepEqual([code, String(reason)], [4400, 'frame.malformed']);
    assert.deepEqual(got, ['last']);
    assert.deepEqual(recorder.messages, []);
    assert.deepEqual(recorder.ends, []);
    assert.equal(recorder.socket!.queuedBytes, 0);
  });

  test(`${name}: closing inside a message handler is safe`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    recorder.onMessageDo = (_bytes, socket) => socket.close(4400, 'frame.malformed');
    client.send(Buffer.from('one'));
    client.send(Buffer.from('two'));
    const [code] = await once(client, 'close');
    assert.equal(code, 4400);
    assert.equal(recorder.messages.length, 1);
  });

  test(`${name}: a throwing handler ends only its own socket`, async (t) => {
    const { connect, failures } = await world(t, open);
    const other = await connect();
    const defect = new Error('defect');
    other.recorder.onMessageDo = () => {
      throw defect;
    };
    other.client.send(Buffer.from('one'));
    const [code] = await once(other.client, 'close');
    assert.equal(code, 1011);
    assert.deepEqual(failures, [defect]);
    assert.deepEqual(other.recorder.ends, ['closed']);
    const next = await connect();
    next.client.send(Buffer.from('fine'));
    await eventually(() => next.recorder.messages.length === 1);
  });

  test(`${name}: reports once that a peer closed or vanished`, async (t) => {
    const { connect, recorders } = await world(t, open);
    (await connect()).client.close(1000);
    await eventually(() => recorders[0]?.ends.length === 1);
    (await connect()).client.terminate();
    await eventually(() => recorders[1]?.ends.length === 1);
    assert.deepEqual(
      recorders.map((r) => r.ends),
      [['closed'], ['closed']],
    );
  });

  test(`${name}: reports every one of many short-lived sockets`, async (t) => {
    const { dial, settings } = await world(t, open);
    settings.admit = (_request, recorder) => {
      recorder.onMessageDo = (bytes, socket) => socket.send(bytes);
      return { listener: recorder };
    };
    for (let round = 0; round < 20; round++) {
      const clients = Array.from({ length: 10 }, () => dial('/v1/link'));
      const echoes = clients.map(async (client) => {
        await once(client, 'open');
        client.send(Buffer.from('hello'));
        await once(client, 'message');
      });
      await Promise.all(echoes);
      for (const client of clients) client.terminate();
    }
  });

  test(`${name}: pings are answered and pongs are reported`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    recorder.socket!.ping();
    await eventually(() => recorder.pongs === 1);
    client.ping();
    await once(client, 'pong');
  });

  test(`[RLY-01] ${name}: counts the bytes that a slow peer does not read, and frees them with the socket`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.pause();
    const chunk = Buffer.alloc(MAX_MESSAGE_BYTES);
    let queued = 0;
    for (let sent = 0; sent < 1000 && queued < 10 * chunk.length; sent++) {
      queued = recorder.socket!.send(chunk);
    }
    assert.ok(queued >= 10 * chunk.length, `${queued} bytes wait`);
    assert.equal(recorder.socket!.queuedBytes, queued);
    recorder.socket!.terminate();
    assert.equal(recorder.socket!.queuedBytes, 0);
    client.resume();
    const [code] = await once(client, 'close');
    assert.equal(code, 1006);
  });

  test(`${name}: a peer that reads again gets everything in order`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.pause();
    const got: number[] = [];
    client.on('message', (data) => got.push((data as Buffer).readUInt32BE()));
    const count = 300;
    const chunk = Buffer.alloc(MAX_MESSAGE_BYTES);
    for (let sent = 0; sent < count; sent++) {
      chunk.writeUInt32BE(sent);
      recorder.socket!.send(Buffer.from(chunk));
    }
    client.resume();
    await eventually(() => got.length === count);
    assert.deepEqual(
      got,
      Array.from({ length: count }, (_, i) => i),
    );
    await eventually(() => recorder.socket!.queuedBytes === 0);
  });

  test(`[RLY-01] ${name}: a flood that is forwarded to another socket arrives whole, both ways`, async (t) => {
    const { connect } = await world(t, open);
    const from = await connect();
    const to = await connect('/v1/link');
    from.recorder.onMessageDo = (bytes) => to.recorder.socket!.send(bytes);
    to.recorder.onMessageDo = (bytes) => from.recorder.socket!.send(bytes);
    const got: number[] = [];
    to.client.on('message', (data) => {
      got.push((data as Buffer).readUInt32BE());
      if (got.length % 100 === 0) to.client.send(data as Buffer);
    });
    const count = 1000;
    for (let sent = 0; sent < count; sent++) {
      const message = Buffer.alloc(16_000);
      message.writeUInt32BE(sent);
      from.client.send(message);
    }
    await eventually(() => got.length === count);
    assert.deepEqual(
      got,
      Array.from({ length: count }, (_, i) => i),
    );
    assert.equal(from.client.readyState, WebSocket.OPEN);
  });

  test(`[RLY-01] ${name}: cuts a peer that pings without reading the answers`, async (t) => {
    const { connect } = await world(t, open);
    const { client, recorder } = await connect();
    client.pause();
    const flood = setInterval(() => {
      for (let sent = 0; sent < 500; sent++) client.ping(Buffer.alloc(125));
    }, 5);
    t.after(() => clearInterval(flood));
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['closed']);
  });

  test(`[RLY-01] ${name}: a refused upgrade gets the status and the error id`, async (t) => {
    const { dial, settings, recorders } = await world(t, open);
    settings.admit = () => ({
      refusal: { status: 429, error: new ZlError('limit.exceeded', 'too many sockets') },
    });
    assert.deepEqual(await refusal(dial()), { status: 429, id: 'limit.exceeded' });
    settings.admit = () => ({
      refusal: { status: 401, error: new ZlError('identity.invalid', 'no') },
    });
    assert.deepEqual(await refusal(dial('/v1/link')), { status: 401, id: 'identity.invalid' });
    assert.deepEqual(
      recorders.map((r) => r.abandoned),
      [0, 0],
    );
  });

  test(`${name}: endpoint and authorization decide an upgrade`, async (t) => {
    const { dial, requests } = await world(t, open);
    await once(dial('/v1/link', { authorization: 'Bearer token' }), 'open');
    await once(dial('/v1/device?query=1'), 'open');
    assert.deepEqual(
      requests.map(({ endpoint, authorization }) => [endpoint, authorization]),
      [
        ['link', 'Bearer token'],
        ['device', ''],
      ],
    );
  });

  test(`${name}: an upgrade without a WebSocket handshake gets an answer`, async (t) => {
    const { engine, authority, recorders } = await world(t, open);
    const socket = connectTls({ port: engine.port, host: 'localhost', ca: authority.ca });
    t.after(() => socket.destroy());
    socket.write('GET /v1/device HTTP/1.1\r\nHost: localhost\r\n');
    socket.write('Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n');
    const [answer] = await once(socket, 'data');
    assert.match(String(answer), /^HTTP\/1.1 4\d\d /);
    await eventually(() => recorders.every(({ abandoned }) => abandoned === 1));
  });

  test(`${name}: a throwing admission is answered with 503`, async (t) => {
    const { dial, settings, failures } = await world(t, open);
    settings.admit = () => {
      throw new Error('now');
    };
    assert.deepEqual(await refusal(dial()), { status: 503, id: 'internal' });
    assert.deepEqual(failures.map(String), ['Error: now']);
  });

  test(`${name}: an unknown path is answered with 404`, async (t) => {
    const { dial } = await world(t, open);
    assert.deepEqual(await refusal(dial('/v1/other')), { status: 404, id: 'request.invalid' });
    assert.deepEqual(await refusal(dial('/')), { status: 404, id: 'request.invalid' });
  });

  test(`[OPS-05] ${name}: new sockets get a new certificate while open ones stay`, async (t) => {
    const { engine, connect, recorders, renew, authority, files } = await world(t, open);
    const serial = async () => {
      const socket = connectTls({ port: engine.port, host: 'localhost', ca: authority.ca });
      await once(socket, 'secureConnect');
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      return raw.toString('base64');
    };
    const { client, recorder } = await connect();
    const before = await serial();
    for (let round = 0; round < 3; round++) await renew();
    assert.notEqual(await serial(), before);
    client.send(Buffer.from('still here'));
    await eventually(() => recorder.messages.length === 1);
    const second = await connect();
    assert.equal(recorders.length, 2);
    second.client.send(Buffer.from('new here'));
    assert.ok(files.certFile);
  });

  test(`${name}: refuses a port that is in use`, async (t) => {
    const { engine, files } = await world(t, open);
    const options = {
      host: '127.0.0.1',
      port: engine.port,
      tls: { ...files, current: () => files },
      maxMessageBytes: 1024,
      idleTimeoutMs: 10_000,
      admit: (): Admission => ({ listener: new Recorder() }),
      onFailure: () => {},
    };
    await assert.rejects(open(options), /EADDRINUSE/);
  });

  test(`${name}: closing the engine cuts every socket`, async (t) => {
    const { engine, connect } = await world(t, open);
    const first = (await connect()).client;
    const second = (await connect('/v1/link')).client;
    const closed = Promise.all([once(first, 'close'), once(second, 'close')]);
    await engine.close();
    await closed;
    await engine.close();
  });
}
