import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { clientTlsOptions, reloadServerTls, serverTlsOptions } from '@zerolatency/service/tls';
import {
  type CertFiles,
  eventually,
  makeAuthority,
  type TestAuthority,
  tempDir,
} from '@zerolatency/testing';
import { peerName } from './certificate-name.ts';

interface Running {
  readonly server: Server;
  readonly port: number;
  /** One for each accepted client. */
  readonly names: (string | undefined)[];
}

async function serve(t: TestContext, cert: CertFiles, requireClient = true): Promise<Running> {
  const names: (string | undefined)[] = [];
  const open = new Set<TLSSocket>();
  const server = createServer(serverTlsOptions(cert, { requireClient }), (socket) => {
    open.add(socket);
    socket.on('error', () => {});
    names.push(peerName(socket));
    socket.end('welcome');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    for (const socket of open) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { server, port: (server.address() as AddressInfo).port, names };
}

/** The server's answer or the connection error, and the name on its certificate. */
async function ask(port: number, options: object): Promise<{ said: string; name?: string }> {
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ...options });
  try {
    await once(socket, 'secureConnect');
    const name = socket.getPeerX509Certificate()?.subject.replace('CN=', '');
    let said = '';
    for await (const chunk of socket) said += chunk;
    return { said, ...(name !== undefined && { name }) };
  } catch (reason) {
    return { said: reason instanceof Error ? reason.message : String(reason) };
  } finally {
    socket.destroy();
  }
}

async function setUp(t: TestContext): Promise<TestAuthority> {
  return makeAuthority(tempDir(t));
}

test('[OPS-05] mutual TLS accepts a client of the authority and shows its name', async (t) => {
  const authority = await setUp(t);
  const { port, names } = await serve(t, await authority.server('relay-1'));
  const client = await authority.client('host-1');
  assert.deepEqual(await ask(port, clientTlsOptions(client)), { said: 'welcome', name: 'relay-1' });
  assert.deepEqual(names, ['host-1']);
});

test('[OPS-05] HTTP/2 shows the name too, on new and resumed TLS sessions', async (t) => {
  const authority = await setUp(t);
  const server = createSecureServer(
    serverTlsOptions(await authority.server(), { requireClient: true }),
    (request, response) => {
      const { socket } = request.stream.session ?? {};
      response.end((socket && peerName(socket)) ?? 'nobody');
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const client = clientTlsOptions(await authority.client('host-1'));
  let ticket: Buffer | undefined;
  for (const isReused of [false, true]) {
    const options = { ...client, ...(ticket && { session: ticket }) };
    const session = connectHttp2(url, options);
    session.socket.on('session', (issued: Buffer) => {
      ticket = issued;
    });
    const stream = session.request({ ':path': '/' });
    let said = '';
    for await (const chunk of stream) said += chunk;
    assert.equal(said, 'host-1');
    assert.equal((session.socket as TLSSocket).isSessionReused(), isReused);
    await eventually(() => ticket);
    session.close();
    await once(session, 'close');
  }
});

test('a client without a certificate of the authority is refused', async (t) => {
  const authority = await setUp(t);
  const { port, names } = await serve(t, await authority.server());
  const stranger = await (await setUp(t)).client('host-1');
  const server = await authority.server('relay-2');
  const attempts = [
    { ca: authority.ca },
    { ...clientTlsOptions(stranger), ca: authority.ca },
    clientTlsOptions(server),
  ];
  for (const options of attempts) assert.notEqual((await ask(port, options)).said, 'welcome');
  assert.deepEqual(names, []);
});

test('a server that does not request client certificates has no names', async (t) => {
  const authority = await setUp(t);
  const { port, names } = await serve(t, await authority.server(), false);
  const client = await authority.client('host-1');
  assert.equal((await ask(port, clientTlsOptions(client))).said, 'welcome');
  assert.deepEqual(names, [undefined]);
});

test('[OPS-05] a server presents a new certificate without a restart', async (t) => {
  const authority = await setUp(t);
  const { server, port } = await serve(t, await authority.server('before'));
  const client = await authority.client('host-1');
  assert.equal((await ask(port, clientTlsOptions(client))).name, 'before');
  reloadServerTls(server, await authority.server('after'));
  assert.equal((await ask(port, clientTlsOptions(client))).name, 'after');
  assert.notEqual((await ask(port, { ca: authority.ca })).said, 'welcome');
});

test('[OPS-05] a server switches to another authority without a restart', async (t) => {
  const [before, after] = [await setUp(t), await setUp(t)];
  const { server, port } = await serve(t, await before.server());
  reloadServerTls(server, await after.server());
  assert.equal((await ask(port, clientTlsOptions(await after.client('host')))).said, 'welcome');
  const old = { ...clientTlsOptions(await before.client('host')), ca: after.ca };
  assert.notEqual((await ask(port, old)).said, 'welcome');
});
