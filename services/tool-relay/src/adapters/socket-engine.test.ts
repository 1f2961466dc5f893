import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { eventually } from '@zerolatency/testing';
import {
  ENGINES,
  engineWorld,
  MAX_MESSAGE_BYTES,
  NO_BALANCERS,
  SOCKETS,
} from '../../test/engine-world.ts';

for (const [name, open, transport] of SOCKETS) {
  test(`[RLY-01] ${name}: a binary message arrives whole, and messages sent from its handler leave in order`, async (t) => {
    const { meet, requests } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
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
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
    recorder.onMessageDo = (bytes, socket) => socket.send(bytes);
    const got: Buffer[] = [];
    client.on('message', (data) => got.push(data as Buffer));
    client.send(Buffer.alloc(MAX_MESSAGE_BYTES, 7));
    client.send(Buffer.alloc(0));
    await eventually(() => got.length === 2);
    assert.deepEqual(got[0], Buffer.alloc(MAX_MESSAGE_BYTES, 7));
    assert.equal(got[1]?.length, 0);
  });

  test(`[RLY-01] ${name}: a message over the size limit ends the socket with 1009`, async (t) => {
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
    client.send(Buffer.alloc(MAX_MESSAGE_BYTES + 1));
    const [code] = await once(client, 'close');
    assert.equal(code, 1009);
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['too_large']);
  });

  test(`[RLY-01] ${name}: a message far over the size limit ends the socket before it has arrived`, async (t) => {
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
    client.send(Buffer.alloc(100 * MAX_MESSAGE_BYTES));
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['too_large']);
  });

  test(`${name}: closing a socket sends code and reason and silences its listener`, async (t) => {
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
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
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
    recorder.onMessageDo = (_bytes, socket) => socket.close(4400, 'frame.malformed');
    client.send(Buffer.from('one'));
    client.send(Buffer.from('two'));
    const [code] = await once(client, 'close');
    assert.equal(code, 4400);
    assert.equal(recorder.messages.length, 1);
  });

  test(`${name}: a throwing handler ends only its own socket`, async (t) => {
    const { meet, failures } = await engineWorld(t, open, NO_BALANCERS, transport);
    const other = await meet();
    const defect = new Error('defect');
    other.recorder.onMessageDo = () => {
      throw defect;
    };
    other.client.send(Buffer.from('one'));
    const [code] = await once(other.client, 'close');
    assert.equal(code, 1011);
    assert.deepEqual(failures, [defect]);
    assert.deepEqual(other.recorder.ends, ['closed']);
    const next = await meet();
    next.client.send(Buffer.from('fine'));
    await eventually(() => next.recorder.messages.length === 1);
  });

  test(`${name}: reports once that a peer closed or vanished`, async (t) => {
    const { meet, recorders } = await engineWorld(t, open, NO_BALANCERS, transport);
    (await meet()).client.close(1000);
    await eventually(() => recorders[0]?.ends.length === 1);
    (await meet()).client.terminate();
    await eventually(() => recorders[1]?.ends.length === 1);
    assert.deepEqual(
      recorders.map((r) => r.ends),
      [['closed'], ['closed']],
    );
  });

  test(`${name}: reports every one of many short-lived sockets`, async (t) => {
    const { reach, settings } = await engineWorld(t, open, NO_BALANCERS, transport);
    settings.admit = (_request, recorder) => {
      recorder.onMessageDo = (bytes, socket) => socket.send(bytes);
      return { listener: recorder };
    };
    for (let round = 0; round < 20; round++) {
      const clients = Array.from({ length: 10 }, () => reach('/v1/link'));
      const echoes = clients.map(async (client) => {
        await once(client, 'open');
        client.send(Buffer.from('hello'));
        await once(client, 'message');
      });
      await Promise.all(echoes);
      for (const client of clients) client.terminate();
    }
  });

  test(`[RLY-01] ${name}: counts the bytes that a slow peer does not read, and frees them with the socket`, async (t) => {
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
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
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const { client, recorder } = await meet();
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
    const { meet } = await engineWorld(t, open, NO_BALANCERS, transport);
    const from = await meet();
    const to = await meet('/v1/link');
    from.recorder.onMessageDo = (bytes) => to.recorder.socket!.send(bytes);
    to.recorder.onMessageDo = (bytes) => from.recorder.socket!.send(bytes);
    let isClosed = false;
    from.client.on('close', () => {
      isClosed = true;
    });
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
    assert.ok(!isClosed);
  });
}

/** What only WebSockets have. */
for (const [name, open] of ENGINES) {
  test(`[RLY-01] ${name}: a text message ends the socket with 1003`, async (t) => {
    const { connect } = await engineWorld(t, open);
    const { client, recorder } = await connect();
    client.send('text');
    const [code] = await once(client, 'close');
    assert.equal(code, 1003);
    assert.deepEqual(recorder.ends, ['text_message']);
    assert.deepEqual(recorder.messages, []);
  });

  test(`${name}: fragments form one message and count together`, async (t) => {
    const { connect } = await engineWorld(t, open);
    const { client, recorder } = await connect();
    client.send(Buffer.from('one '), { fin: false, binary: true });
    client.send(Buffer.from('two'), { fin: true });
    await eventually(() => recorder.messages.length === 1);
    assert.equal(String(recorder.messages[0]), 'one two');
    for (let i = 0; i < 3; i++) client.send(Buffer.alloc(MAX_MESSAGE_BYTES), { fin: false });
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['too_large']);
  });

  test(`${name}: pings are answered and pongs are reported`, async (t) => {
    const { connect } = await engineWorld(t, open);
    const { client, recorder } = await connect();
    recorder.socket!.ping();
    await eventually(() => recorder.controls.includes('pong'));
    client.ping();
    await once(client, 'pong');
    assert.deepEqual(recorder.controls, ['pong', 'ping']);
  });

  test(`[RLY-01] ${name}: cuts a peer that pings without reading the answers`, async (t) => {
    const { connect } = await engineWorld(t, open);
    const { client, recorder } = await connect();
    client.pause();
    const flood = setInterval(() => {
      for (let sent = 0; sent < 500; sent++) client.ping(Buffer.alloc(125));
    }, 5);
    t.after(() => clearInterval(flood));
    await eventually(() => recorder.ends.length === 1);
    assert.deepEqual(recorder.ends, ['closed']);
  });
}
