import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AgentService } from '@zerolatency/proto/agent';
import { fromConnectError } from '@zerolatency/service/rpc';
import { type CertFiles, eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import { startTestHost, type TestHost } from './support/host.ts';
import { eventsOf, only, start } from './support/streams.ts';

const SLOW = '- reply: [{ text: working }, { text: { value: done, delayMs: 60000 } }]\n';
const NAME = 'spiffe://prod.example/north/bff/web';

async function started(t: TestContext, rules?: string): Promise<TestHost> {
  return startTestHost(t, {
    ...(rules !== undefined && { rules }),
    settings: {
      'identity.certificates': [
        { name: 'URI:spiffe://prod.example/{tenant}/bff/{user}', roles: ['bff'] },
      ],
    },
  });
}

function clientOf(host: TestHost, certificate?: CertFiles, authorization?: string) {
  const pair = certificate && { cert: certificate.cert, key: certificate.key };
  const transport = createConnectTransport({
    ...{ baseUrl: host.addresses.rpc, httpVersion: '2' },
    nodeOptions: { ca: host.ca, ...pair },
    interceptors: [
      (next) => (request) => {
        if (authorization !== undefined) request.header.set('authorization', authorization);
        return next(request);
      },
    ],
  });
  return createClient(AgentService, transport);
}

async function refusalOf(client: ReturnType<typeof clientOf>): Promise<string> {
  try {
    await eventsOf(client.streamChat(only(start({ text: 'hello' }))));
    return 'none';
  } catch (reason) {
    const { id, message } = fromConnectError(reason);
    return `${id}: ${message}`;
  }
}

test('[HOST-11] a client without a token is whom its certificate names', async (t) => {
  const host = await started(t);
  const client = clientOf(host, await host.authority.client(NAME));
  // More streams than a connection may have that proved nothing.
  await Promise.all(
    Array.from({ length: 20 }, () => eventsOf(client.chat({ start: { text: 'hello' } }))),
  );
  assert.deepEqual(host.recorder.records[0]?.scope.identity, {
    ...{ tenant: 'north', user: 'web', roles: ['bff'] },
  });
});

test('[HOST-11] a token counts before the certificate, and a bad one is not excused by it', async (t) => {
  const host = await started(t);
  const certificate = await host.authority.client(NAME);
  const token = await host.issuer.token({ tenant: 'south', user: 'anna' });
  await eventsOf(clientOf(host, certificate, `Bearer ${token}`).chat({ start: { text: 'hello' } }));
  assert.deepEqual(host.recorder.records[0]?.scope.identity.tenant, 'south');
  const expired = await host.issuer.token({ expiresInMs: -60_000 });
  for (const header of [`Bearer ${expired}`, 'Bearer x', 'Basic abc', '']) {
    const refusal = await refusalOf(clientOf(host, certificate, header));
    assert.match(refusal, /^identity\.(invalid|missing)/, header);
  }
  assert.equal(host.recorder.records.length, 1);
});

test('[HOST-11] certificates of strangers, of other kinds and without a fitting name prove nobody', async (t) => {
  const host = await started(t);
  const { authority } = host;
  const stranger = await makeAuthority(tempDir(t));
  const cases: [CertFiles | undefined, RegExp][] = [
    [undefined, /^identity\.missing/],
    [await stranger.client(NAME), /^identity\.invalid: the client certificate is refused/],
    [
      await authority.client('spiffe://prod.example/north/other/web'),
      /identity\.invalid: .*no rule/,
    ],
    [await authority.client('north'), /identity\.invalid: .*no rule/],
    [await authority.server(NAME), /^identity\.invalid/],
    [await authority.client(NAME, { validForMs: -1000 }), /^identity\.invalid/],
  ];
  for (const [certificate, expected] of cases) {
    assert.match(await refusalOf(clientOf(host, certificate)), expected);
  }
  // A token needs no certificate.
  const token = await host.issuer.token();
  assert.equal(await refusalOf(clientOf(host, undefined, `Bearer ${token}`)), 'none');
});

test('[HOST-11] [OPS-05] an authority that is replaced ends the streams of its certificates', async (t) => {
  const host = await started(t, SLOW);
  const open = async (client: ReturnType<typeof clientOf>) => {
    const events: (string | undefined)[] = [];
    const ended = (async () => {
      for await (const { event } of client.streamChat(only(start({ text: 'hello' })))) {
        events.push(event?.event.case);
      }
    })();
    ended.catch(() => {});
    await eventually(() => events.includes('assistantDelta'));
    return { events, ended };
  };
  const certified = clientOf(host, await host.authority.client(NAME));
  const byCertificate = await open(certified);
  const byToken = await open(clientOf(host, undefined, `Bearer ${await host.issuer.token()}`));
  const next = await makeAuthority(tempDir(t));
  copyFileSync(next.caFile, host.tls.caFile);
  await assert.rejects(byCertificate.ended, (reason) => {
    const { id, message } = fromConnectError(reason);
    return id === 'identity.invalid' && /authority is no longer accepted/.test(message);
  });
  assert.equal(byCertificate.events.at(-1), 'error');
  assert.deepEqual(byToken.events, ['assistantDelta']);
  // On the connection that is still open, and on a new one.
  assert.match(await refusalOf(certified), /^identity\.invalid/);
  const again = clientOf(host, await host.authority.client(NAME));
  assert.match(await refusalOf(again), /^identity\.invalid/);
  await open(clientOf(host, await next.client(NAME)));
});
