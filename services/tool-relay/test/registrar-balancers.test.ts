import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { JsonValue } from '@bufbuild/protobuf';
import { createEnrolmentCode } from '@zerolatency/identity';
import { eventually } from '@zerolatency/testing';
import { openProxied, proxyHeader } from './proxied.ts';
import { enrolRequest, newKey, registrarWorld } from './registrar-world.ts';

const PATH = '/zerolatency.registrar.v1.EnrolmentService/Enrol';

/** A registrar behind balancers, and devices that enrol through them. */
async function balancedWorld(t: TestContext, proxyProtocol: string, more: Settings = {}) {
  const world = await registrarWorld(t, {
    settings: {
      'registrar.enrol.proxyProtocol': proxyProtocol,
      'registrar.enrol.trustedProxies': ['127.0.0.1'],
      ...more,
    },
  });
  const { registrar, authority, invite } = world;
  const port = Number(new URL(registrar.enrolUrl).port);
  const { ca } = authority;
  const key = newKey();
  /** Returns the status, or the error of the connection. */
  const enrol = async (code: string, via: Via) => {
    const body = JSON.stringify(await enrolRequest(code, { audience: registrar.enrolUrl, key }));
    const socket = openProxied({ port, ca }, via.header ?? Buffer.alloc(0), via.from);
    t.after(() => socket.destroy());
    const forwarded = via.forwarded === undefined ? {} : { 'x-forwarded-for': via.forwarded };
    const asked = httpsRequest(`${registrar.enrolUrl}${PATH}`, {
      method: 'POST',
      createConnection: () => connectTls({ socket, servername: 'localhost', ca }),
      headers: { 'content-type': 'application/json', ...forwarded },
    });
    asked.end(body);
    try {
      const [response] = await once(asked, 'response');
      response.resume();
      return response.statusCode;
    } catch {
      return 'refused';
    }
  };
  return { ...world, enrol, invite, port, ca };
}

type Settings = Readonly<Record<string, JsonValue>>;

interface Via {
  /** A header of the PROXY protocol. */
  readonly header?: Buffer;
  readonly forwarded?: string;
  readonly from?: string;
}

const said = (lines: readonly string[], address: string) =>
  lines.some((line) => line.includes('device enrolled') && line.includes(`"address":"${address}"`));

test('[BRG-04] behind a balancer that speaks the PROXY protocol a registrar limits the devices', async (t) => {
  const { enrol, invite, logLines } = await balancedWorld(t, 'v2');
  const via = (address: string) => ({ header: proxyHeader(address) });
  assert.equal(await enrol(await invite(), via('198.51.100.7')), 200);
  assert.ok(said(logLines, '198.51.100.7'));
  // Past its balancers, and of a balancer that says nothing of it.
  const direct = { ...via('198.51.100.7'), from: '127.0.0.2' };
  assert.equal(await enrol(await invite(), direct), 'refused');
  assert.equal(
    await enrol(await invite(), { header: Buffer.from('GET / HTTP/1.1\r\n\r\n') }),
    'refused',
  );
  const guesses = Array.from({ length: 30 }, () =>
    enrol(createEnrolmentCode(), via('198.51.100.7')),
  );
  const answers = await Promise.all(guesses);
  assert.ok(answers.includes(429), answers.join());
  const honest = await enrol(createEnrolmentCode(), via('203.0.113.9'));
  assert.ok(honest !== 429 && honest !== 'refused', String(honest));
});

test('[BRG-04] behind a balancer that ends TLS a registrar goes by X-Forwarded-For, and only there', async (t) => {
  const { enrol, invite, logLines } = await balancedWorld(t, 'forwarded-for');
  const forwarded = '203.0.113.1, 198.51.100.8';
  assert.equal(await enrol(await invite(), { forwarded }), 200);
  assert.ok(said(logLines, '198.51.100.8'));
  assert.equal(await enrol(await invite(), { forwarded, from: '127.0.0.2' }), 200);
  assert.ok(said(logLines, '127.0.0.2'));
  assert.equal(await enrol(await invite(), { forwarded: 'unknown' }), 200);
  assert.ok(said(logLines, '127.0.0.1'));
});

test('[BRG-04] connections of a balancer that never say for whom they are do not stay', async (t) => {
  const { enrol, invite, port, ca } = await balancedWorld(t, 'v2', {
    'registrar.enrol.connections': { maxUnproved: 10, handshake: '2s' },
  });
  const silent = Array.from({ length: 10 }, () => openProxied({ port, ca }, Buffer.alloc(0)));
  for (const socket of silent) socket.resume();
  t.after(() => {
    for (const socket of silent) socket.destroy();
  });
  await eventually(() => silent.every(({ closed }) => closed), { timeoutMs: 30_000 });
  assert.equal(await enrol(await invite(), { header: proxyHeader('198.51.100.7') }), 200);
});
