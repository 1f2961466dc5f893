import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { ZlError } from '@zerolatency/errors';
import { eventually } from '@zerolatency/testing';
import type { WebSocket } from 'ws';
import { ENGINES, engineWorld, NO_BALANCERS, Recorder } from '../../test/engine-world.ts';
import type { Admission } from '../sockets/socket-engine.ts';

/** Status and body of the answer to a refused upgrade. */
async function refusal(client: WebSocket): Promise<{ status: number; id: string }> {
  const [, response] = await once(client, 'unexpected-response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, id: JSON.parse(body).id };
}

for (const [name, open] of ENGINES) {
  test(`[RLY-01] ${name}: a refused upgrade gets the status and the error id`, async (t) => {
    const { dial, settings, recorders } = await engineWorld(t, open);
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
    const { dial, requests } = await engineWorld(t, open);
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
    const { engine, authority, recorders } = await engineWorld(t, open);
    const socket = connectTls({ port: engine.port, host: 'localhost', ca: authority.ca });
    t.after(() => socket.destroy());
    socket.write('GET /v1/device HTTP/1.1\r\nHost: localhost\r\n');
    socket.write('Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n');
    const [answer] = await once(socket, 'data');
    assert.match(String(answer), /^HTTP\/1.1 4\d\d /);
    await eventually(() => recorders.every(({ abandoned }) => abandoned === 1));
  });

  test(`${name}: a throwing admission is answered with 503`, async (t) => {
    const { dial, settings, failures } = await engineWorld(t, open);
    settings.admit = () => {
      throw new Error('now');
    };
    assert.deepEqual(await refusal(dial()), { status: 503, id: 'internal' });
    assert.deepEqual(failures.map(String), ['Error: now']);
  });

  test(`${name}: an unknown path is answered with 404`, async (t) => {
    const { dial } = await engineWorld(t, open);
    assert.deepEqual(await refusal(dial('/v1/other')), { status: 404, id: 'request.invalid' });
    assert.deepEqual(await refusal(dial('/')), { status: 404, id: 'request.invalid' });
  });

  test(`[OPS-05] ${name}: new sockets get a new certificate while open ones stay`, async (t) => {
    const { engine, connect, recorders, renew, authority, files } = await engineWorld(t, open);
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
    const { engine, files } = await engineWorld(t, open);
    const options = {
      host: '127.0.0.1',
      port: engine.port,
      tls: { ...files, current: () => files },
      maxMessageBytes: 1024,
      idleTimeoutMs: 10_000,
      admit: (): Admission => ({ listener: new Recorder() }),
      maxConnections: 1,
      balancers: NO_BALANCERS,
      arrive: () => undefined,
      onAccepting: () => {},
      onStreamRequest: () => {},
      onFailure: () => {},
    };
    await assert.rejects(open(options), /EADDRINUSE/);
  });

  test(`${name}: closing the engine cuts every socket`, async (t) => {
    const { engine, connect } = await engineWorld(t, open);
    const first = (await connect()).client;
    const second = (await connect('/v1/link')).client;
    const closed = Promise.all([once(first, 'close'), once(second, 'close')]);
    await engine.close();
    await closed;
    await engine.close();
  });
}
