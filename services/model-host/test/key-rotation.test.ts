import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromConnectError } from '@zerolatency/service/rpc';
import { eventually, makeTokenIssuer, tempDir } from '@zerolatency/testing';
import { startTestHost } from './support/host.ts';
import { json, jwks, LOOPBACK, startKeyServer } from './support/key-server.ts';
import { eventsOf, only, start } from './support/streams.ts';

const ISSUER = 'https://rotating.test';

test('[HOST-11] a key that its issuer withdraws ends the streams it opened, running turns included', async (t) => {
  const leaves = await makeTokenIssuer(tempDir(t), { issuer: ISSUER });
  const stays = await makeTokenIssuer(tempDir(t), { issuer: ISSUER });
  const server = await startKeyServer(t, json(jwks(leaves, stays)));
  const host = await startTestHost(t, {
    rules: '- reply: [{ text: working }, { text: { value: done, delayMs: 60000 } }]\n',
    settings: {
      'identity.issuers.rotating': {
        ...{ issuer: ISSUER, audience: ['zero-latency'] },
        ...{ jwksUrl: `${server.origin}/keys`, caFile: server.caFile },
      },
      'identity.keySets': { minRefresh: '50ms', maxRefresh: '50ms', maxAge: '1h' },
      'identity.allowNetworks': LOOPBACK,
    },
  });
  const open = async (token: string) => {
    const events: (string | undefined)[] = [];
    const ended = (async () => {
      const client = host.client('grpc', token);
      for await (const { event } of client.streamChat(only(start({ text: 'hello' })))) {
        events.push(event?.event.case);
      }
    })();
    ended.catch(() => {});
    await eventually(() => events.includes('assistantDelta'));
    return { events, ended };
  };
  const withdrawn = await open(await leaves.token());
  const other = await open(await stays.token());
  server.answer = json(jwks(stays));
  await assert.rejects(withdrawn.ended, (reason) => {
    const { id, message } = fromConnectError(reason);
    return id === 'identity.invalid' && /withdrawn/.test(message);
  });
  assert.equal(withdrawn.events.at(-1), 'error');
  assert.deepEqual(other.events, ['assistantDelta']);
  await assert.rejects(
    eventsOf(host.client('connect', await leaves.token()).chat({ start: { text: 'hello' } })),
    (reason) => fromConnectError(reason).id === 'identity.invalid',
  );
});
