import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromConnectError } from '@zerolatency/service/rpc';
import { makeKey } from '@zerolatency/testing';
import { UnsecuredJWT } from 'jose';
import { startTestHost } from './support/host.ts';
import { eventsOf, only, start } from './support/streams.ts';

test('[HOST-11] refuses a turn without a valid access token over both protocols', async (t) => {
  const host = await startTestHost(t);
  const { issuer } = host;
  const claims = issuer.claims({ user: 'root' });
  const attacks: Record<string, [token: string, id: string]> = {
    'no token': ['', 'identity.missing'],
    'no JWT': ['letmein', 'identity.invalid'],
    'alg none': [new UnsecuredJWT(claims).encode(), 'identity.invalid'],
    'a key of its own': [await issuer.token({ key: makeKey() }), 'identity.invalid'],
    expired: [await issuer.token({ expiresInMs: -60_000 }), 'identity.invalid'],
    'another audience': [await issuer.token({ claims: { aud: 'billing' } }), 'identity.invalid'],
    'another issuer': [await issuer.token({ claims: { iss: 'me' } }), 'identity.invalid'],
    'no tenant': [await issuer.token({ claims: { tenant: undefined } }), 'identity.invalid'],
  };
  for (const [attack, [token, id]] of Object.entries(attacks)) {
    for (const protocol of ['connect', 'grpc'] as const) {
      const client = host.client(protocol, token);
      for (const call of [
        () => eventsOf(client.streamChat(only(start({ text: 'hello' })))),
        () => eventsOf(client.chat({ start: { text: 'hello' } })),
      ]) {
        await assert.rejects(
          call(),
          (reason) => fromConnectError(reason).id === id,
          `${attack}, ${protocol}`,
        );
      }
    }
  }
  assert.equal(host.recorder.records.length, 0);
});

test("[HOST-11] a turn's record, log and span carry the identity of its access token", async (t) => {
  const spans: { name: string; attributes: Record<string, unknown>; traceId: string }[] = [];
  const host = await startTestHost(t, {
    onSpan: (span) =>
      spans.push({
        name: span.name,
        attributes: span.attributes,
        traceId: span.spanContext().traceId,
      }),
  });
  const token = await host.issuer.token({ tenant: 'north', user: 'user-1', roles: ['ops'] });
  const client = host.client('grpc', token);
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, 'x-tenant': 'other' };
  await eventsOf(client.streamChat(only(start({ text: 'hello', sessionId: 's' })), { headers }));
  const [record] = host.recorder.records;
  assert.deepEqual(record?.scope.identity, { tenant: 'north', user: 'user-1', roles: ['ops'] });
  const turn = spans.find((span) => span.name === 'turn');
  assert.equal(turn?.traceId, traceId);
  assert.equal(turn?.attributes.tenant, 'north');
  assert.equal(turn?.attributes.session_id, 's');
  assert.equal(turn?.attributes.audit_id, 'audit-1');
  const line = host.logs.find((each) => each.msg === 'turn ended');
  assert.equal(line?.tenant, 'north');
  assert.equal(line?.audit_id, 'audit-1');
  assert.equal(line?.trace_id, traceId);
});
