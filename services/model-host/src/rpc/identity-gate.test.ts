import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import type { ProvenIdentity } from '@zerolatency/identity';
import { AgentService } from '@zerolatency/proto/agent';
import { Slots } from '../limits/slots.ts';
import { identityGate } from './identity-gate.ts';

const PROVEN: ProvenIdentity = {
  identity: { tenant: 'north', user: 'user-1', roles: [] },
  expiresAtMs: Number.POSITIVE_INFINITY,
};

test('[HOST-12] a stream holds its slot until it closes, and takes none once its client has left', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.after(() => client.destroy());
  const streams = new Slots('streams', { Pod: 1, Tenant: 1, User: 1 });
  const verifications: PromiseWithResolvers<ProvenIdentity>[] = [];
  const admit = identityGate({
    ...{ streams, turns: { assertRoom() {} }, refusals: { count() {} }, onProved() {} },
    verifyToken: () => {
      const verification = Promise.withResolvers<ProvenIdentity>();
      verifications.push(verification);
      return verification.promise;
    },
  });
  const open = async () => {
    const stream = client.request({ ':method': 'POST', authorization: 'Bearer token' });
    const [request, response] = await once(server, 'request');
    const admitted = admit({ method: AgentService.method.streamChat, request, response });
    return { stream, closed: once(response, 'close'), admitted };
  };

  const left = await open();
  left.stream.close();
  await left.closed;
  verifications.at(-1)?.resolve(PROVEN);
  await assert.rejects(left.admitted, (error: ZlError) => error.id === 'turn.cancelled');
  assert.equal(streams.taken, 0);

  const stays = await open();
  verifications.at(-1)?.resolve(PROVEN);
  await stays.admitted;
  assert.equal(streams.taken, 1);
  stays.stream.close();
  await stays.closed;
  assert.equal(streams.taken, 0);
});
