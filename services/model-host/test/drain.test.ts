import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { ChatEvent } from '@zerolatency/proto/agent';
import { Health } from '@zerolatency/proto/health';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import { errorIdOf, eventsOf, namesOf, only, Requests, start } from './support/streams.ts';

const RULES = `
- when: { text: hang }
  reply: [{ text: thinking }, { hang: true }]
- when: { after: results }
  reply: [{ text: fine }]
- reply: [{ toolCalls: [{ tool: wait }] }]
`;

test('[HOST-10] a drain lets a running turn finish, refuses new ones and updates health and readiness', async (t) => {
  const release = Promise.withResolvers<object>();
  const host = await startTestHost(t, { rules: RULES, tools: { wait: () => release.promise } });
  const client = host.client('grpc', await host.issuer.token());
  const healthClient = createClient(
    Health,
    createGrpcTransport({ baseUrl: host.addresses.rpc, nodeOptions: { ca: host.ca } }),
  );
  const statuses: number[] = [];
  const watching = (async () => {
    for await (const { status } of healthClient.watch({ service: '' })) statuses.push(status);
  })().catch(() => {});
  const running = eventsOf(client.streamChat(only(start({ text: 'work', deviceId: 'd' }))));
  const idle = new Requests();
  const idleStream = assert.rejects(
    eventsOf(client.streamChat(idle)),
    (reason) => fromConnectError(reason).id === 'server.draining',
  );
  await eventually(() => host.toolboxes.running() === 1 && statuses.length === 1);
  assert.equal((await fetch(`${host.addresses.admin}/readyz`)).status, 200);

  const stopped = host.lifecycle.shutdown({ reason: 'test', deadlineMs: 30_000 });
  assert.equal((await fetch(`${host.addresses.admin}/readyz`)).status, 503);
  await eventually(() => statuses.at(-1) === 2);
  await assert.rejects(
    eventsOf(client.chat({ start: { text: 'more' } })),
    (reason) => fromConnectError(reason).id === 'server.draining',
  );
  await idleStream;
  // Nor may a stream that opens now, and asks for nothing, hold the pod until the deadline.
  await assert.rejects(
    eventsOf(client.streamChat(new Requests(), { timeoutMs: 5_000 })),
    (reason) => fromConnectError(reason).id === 'server.draining',
  );
  release.resolve({});
  assert.equal(namesOf(await running).at(-1), 'assistantDone');
  await stopped;
  await watching;
  assert.equal(host.lifecycle.state, 'stopped');
  assert.deepEqual(host.lifecycle.failures, []);
});

test('[HOST-10] a client that finished sending before its turn ends sees no failure', async (t) => {
  const release = Promise.withResolvers<object>();
  const host = await startTestHost(t, { rules: RULES, tools: { wait: () => release.promise } });
  const client = host.client('grpc', await host.issuer.token());
  const requests = new Requests();
  requests.send(start({ text: 'work', deviceId: 'd' }));
  const running = eventsOf(client.streamChat(requests));
  await eventually(() => host.toolboxes.running() === 1);
  const stopped = host.lifecycle.shutdown({ reason: 'test', deadlineMs: 30_000 });
  requests.end();
  // An answer on the same connection tells that the end before it has arrived.
  await assert.rejects(eventsOf(client.chat({ start: { text: 'more' } })));
  release.resolve({});
  assert.equal(namesOf(await running).at(-1), 'assistantDone');
  await stopped;
});

test('[HOST-10] a turn that still runs at the deadline ends with server.draining and is recorded', async (t) => {
  const host = await startTestHost(t, { rules: RULES });
  const client = host.client('connect', await host.issuer.token());
  const events: ChatEvent[] = [];
  const running = (async () => {
    for await (const { event } of client.streamChat(only(start({ text: 'hang' })))) {
      if (event !== undefined) events.push(event);
    }
  })();
  await eventually(() => events.length === 1);
  await host.lifecycle.shutdown({ reason: 'test', deadlineMs: 20 });
  await running.catch(() => {});
  assert.equal(errorIdOf(events), 'server.draining');
  assert.equal(host.recorder.records[0]?.outcome, 'cancelled');
  assert.equal(host.recorder.records[0]?.errorId, 'server.draining');
});
