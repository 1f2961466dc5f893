import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { freePort } from '@zerolatency/testing';
import { startTestHost } from '../support/host.ts';
import { eventsOf, textOf } from '../support/streams.ts';
import { answerOf, MODELS, sendsEvents, vendorServer } from './vendor-server.ts';

const TYPE = 'openai-compatible';
const ALIAS = {
  'models.default': 'main',
  'models.aliases': { main: { provider: 'up', model: MODELS[TYPE] } },
};

test('[HOST-09] [PROV-06] the first turn finds the connection that was opened before the host was ready', async (t) => {
  const server = await vendorServer(t, sendsEvents(answerOf(TYPE)));
  const host = await startTestHost(t, {
    settings: { ...ALIAS, 'providers.vendors': { up: { type: TYPE, baseUrl: server.url } } },
  });
  assert.deepEqual([server.connections(), server.asked.length], [1, 0]);
  const client = host.client('connect', await host.issuer.token());
  for (let turn = 1; turn <= 2; turn += 1) {
    assert.equal(textOf(await eventsOf(client.chat({ start: { text: 'hi' } }))), 'Done.');
    assert.deepEqual([server.connections(), server.asked.length], [1, turn]);
  }
});

test('[PROV-06] a connection that the provider has closed is opened again by the first turn', async (t) => {
  const server = await vendorServer(t, sendsEvents(answerOf(TYPE)));
  const host = await startTestHost(t, {
    settings: { ...ALIAS, 'providers.vendors': { up: { type: TYPE, baseUrl: server.url } } },
  });
  server.closeConnections();
  const client = host.client('connect', await host.issuer.token());
  assert.equal(textOf(await eventsOf(client.chat({ start: { text: 'hi' } }))), 'Done.');
  assert.equal(server.connections(), 2);
});

test('[HOST-09] a provider that is down, or hangs in its handshake, is logged and delays no start for ever', async (t) => {
  const hanging = createServer().listen(0, '127.0.0.1');
  await once(hanging, 'listening');
  const sockets: { destroy(): void }[] = [];
  hanging.on('connection', (socket) => sockets.push(socket.on('error', () => {})));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    hanging.close();
  });
  const address = hanging.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const host = await startTestHost(t, {
    settings: {
      'providers.vendors': {
        down: { type: TYPE, baseUrl: `http://127.0.0.1:${await freePort()}/v1` },
        hangs: { type: TYPE, baseUrl: `https://127.0.0.1:${port}/v1` },
      },
    },
  });
  const cold = host.logs.filter(({ msg }) => /could not be reached at the start/.test(`${msg}`));
  assert.deepEqual(cold.map(({ provider }) => provider).sort(), ['down', 'hangs']);
  const client = host.client('connect', await host.issuer.token());
  assert.notEqual(textOf(await eventsOf(client.chat({ start: { text: 'hi' } }))), '');
});
