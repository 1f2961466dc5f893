import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { verifyDeviceCredential } from '@zerolatency/identity';
import { makeAuthority, tempDir } from '@zerolatency/testing';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { openIssuer } from '../src/app/start-registrar.ts';
import { readRegistrarConfig } from '../src/config.ts';
import { silentLog } from './parts.ts';
import { newKey, registrarFiles } from './registrar-world.ts';

const PAIRS = {
  ed25519: generateKeyPairSync('ed25519'),
  'ecdsa-p256': generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
};
type KeyType = keyof typeof PAIRS;
type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** What the transit engine says of its key. */
function keyOf(type: KeyType) {
  const { publicKey } = PAIRS[type];
  const raw = Buffer.from(`${publicKey.export({ format: 'jwk' }).x}`, 'base64url');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const text = type === 'ed25519' ? raw.toString('base64') : pem;
  return { type, latest_version: 2, keys: { 1: { public_key: 'old' }, 2: { public_key: text } } };
}

function signatureOf(type: KeyType, privateKey: KeyObject, body: Record<string, unknown>) {
  assert.equal(body.key_version, 2);
  const bytes = Buffer.from(String(body.input), 'base64');
  if (type === 'ed25519') return sign(null, bytes, privateKey).toString('base64');
  assert.equal(body.marshaling_algorithm, 'jws');
  const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
  return sign('sha256', bytes, key).toString('base64url');
}

/** The transit engine with a real key, over TLS, until the test puts another answer in its place. */
async function vaultWorld(t: TestContext, type: KeyType = 'ed25519') {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const { certFile, keyFile, caFile } = await authority.server('localhost');
  const world: { token: string; answer?: Answer } = { token: 'first-token' };
  const tokenFile = join(dir, 'token');
  writeFileSync(tokenFile, `${world.token}\n`);
  const reply = (response: ServerResponse, status: number, body: object) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    if (world.answer !== undefined) return world.answer(response, request);
    if (request.headers['x-vault-token'] !== world.token) {
      return reply(response, 403, { errors: ['permission denied'] });
    }
    let text = '';
    for await (const chunk of request) text += chunk;
    const signs = `/v1/transit/sign/devices${type === 'ed25519' ? '' : '/sha2-256'}`;
    if (request.url === '/v1/transit/keys/devices') {
      return reply(response, 200, { data: keyOf(type) });
    }
    if (request.url !== signs) return reply(response, 404, { errors: [] });
    const made = signatureOf(type, PAIRS[type].privateKey, JSON.parse(text));
    return reply(response, 200, { data: { signature: `vault:v2:${made}`, key_version: 2 } });
  };
  const tls = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  const server = createServer(tls, (request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const jwk = await exportJWK(PAIRS[type].publicKey);
  const jwksFile = join(dir, 'vault-keys.json');
  const kid = await calculateJwkThumbprint(jwk);
  writeFileSync(jwksFile, JSON.stringify({ keys: [{ ...jwk, kid }] }));
  const { 'registrar.issuerKeyFile': _, ...settings } = (await registrarFiles(dir)).settings;
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const config = (changes: Record<string, string> = {}) => {
    const issuerVault = { url, key: 'devices', tokenFile, caFile, timeout: '30s', ...changes };
    const flags = {
      ...{ ...settings, 'enrolment.jwksFile': jwksFile, 'registrar.issuerVault': issuerVault },
      tls: { certFile, keyFile, caFile },
    };
    return { env: {}, flags };
  };
  const open = (changes?: Record<string, string>) =>
    openIssuer(readRegistrarConfig(config(changes)), silentLog);
  const opened = async (changes?: Record<string, string>) => {
    const issuer = await open(changes);
    t.after(() => issuer.close());
    const issue = () => issuer.issuer.issue({ tenant: 'north', deviceId: 'laptop' }, newKey());
    return { ...issuer, issue };
  };
  return { world, tokenFile, config, open, opened, reply };
}

for (const type of ['ed25519', 'ecdsa-p256'] as const) {
  test(`[BRG-04] a key of type ${type} in a Vault signs credentials that relays accept`, async (t) => {
    const { opened, world, tokenFile } = await vaultWorld(t, type);
    const { issuer, keySet, keyStatus } = await opened();
    const device = { tenant: 'north', deviceId: 'laptop' };
    const issue = async () => (await issuer.issue(device, newKey())).credential;
    const { value } = await verifyDeviceCredential(await issue(), keySet.keys(), {
      nowMs: Date.now(),
    });
    assert.deepEqual(value?.device, device);
    assert.match(keyStatus().detail, /version 2 of devices/);
    // An agent renews the token.
    world.token = 'second-token';
    await assert.rejects(issue(), { id: 'kms.failed' });
    writeFileSync(tokenFile, world.token);
    await issue();
  });
}

test('[BRG-04] each failure of a Vault says what to do, and the next signature heals it', async (t) => {
  const { opened, world, reply } = await vaultWorld(t);
  const { issue, keyStatus } = await opened();
  const huge: Answer = (response) => void response.writeHead(200).end('x'.repeat(1_000_000));
  const redirect: Answer = (response) =>
    void response.writeHead(307, { location: 'https://other.test/' }).end();
  const cut: Answer = (response) => {
    response.writeHead(200, { 'content-length': '10' }).write('{', () => response.destroy());
  };
  const forged = {
    signature: `vault:v2:${sign(null, Buffer.from('x'), newKey()).toString('base64')}`,
  };
  for (const [answer, message] of [
    [
      (r) => void reply(r, 403, { errors: ['permission denied'] }),
      /403: permission denied; put a token/,
    ],
    [(r) => void reply(r, 429, { errors: ['rate limited'] }), /429: rate limited; raise/],
    [(r) => void reply(r, 503, { errors: ['Vault is sealed'] }), /503: Vault is sealed; unseal it/],
    [(r) => void reply(r, 500, { errors: 'no list' }), /answered 500$/],
    [(r) => void r.writeHead(200).end('<html>'), /cannot be read; check that the address/],
    [(r) => void reply(r, 200, { data: {} }), /signature does not verify/],
    [(r) => void reply(r, 200, { data: forged }), /signature does not verify/],
    [(r) => void r.destroy(), /socket hang up|ECONNRESET/],
    [cut, /aborted|ECONNRESET|socket hang up/],
    [redirect, /answered 307/],
    [huge, /too large/],
  ] satisfies [Answer, RegExp][]) {
    world.answer = answer;
    await assert.rejects(issue(), (error: ZlError) => {
      assert.equal(error.id, 'kms.failed');
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /first-token/);
      return true;
    });
    assert.equal(keyStatus().status, 'degraded');
    delete world.answer;
    await issue();
    assert.equal(keyStatus().status, 'ok');
  }
});

test('[BRG-04] a Vault that does not answer holds a bounded number of requests, each for its time', async (t) => {
  const { opened, world } = await vaultWorld(t);
  const { issue } = await opened({ timeout: '4s' });
  world.answer = () => {};
  const asked = await Promise.allSettled(Array.from({ length: 300 }, issue));
  const whyOf = (each: PromiseSettledResult<unknown>) =>
    each.status === 'rejected' ? each.reason.message : '';
  const full = asked.filter((each) => /256 requests are under way/.test(whyOf(each)));
  const late = asked.filter((each) => /no answer within 4000 ms/.test(whyOf(each)));
  assert.deepEqual([full.length, late.length], [44, 256]);
});

test('[BRG-04] a registrar does not start with a key in a Vault that it cannot use', async (t) => {
  const { config, open, world, tokenFile, reply } = await vaultWorld(t);
  const answerWith =
    (data: object): Answer =>
    (response) =>
      void reply(response, 200, { data });
  for (const data of [
    { type: 'aes256-gcm96', latest_version: 1, keys: { 1: 1_700_000_000 } },
    { ...keyOf('ed25519'), latest_version: 9 },
    { ...keyOf('ed25519'), type: 'ecdsa-p256' },
    {},
  ]) {
    world.answer = answerWith(data);
    await assert.rejects(open(), { id: 'kms.failed', message: /must be an ed25519 or ecdsa-p256/ });
  }
  delete world.answer;
  const { flags } = config();
  const both = { ...flags, 'registrar.issuerKeyFile': 'key.pem' };
  const { 'registrar.issuerVault': _, ...neither } = flags;
  for (const wrong of [both, neither]) {
    const read = () => readRegistrarConfig({ env: {}, flags: wrong });
    assert.throws(read, { id: 'config.invalid', message: /set one of them/ });
  }
  await assert.rejects(open({ key: 'other' }), { id: 'kms.failed', message: /404; check mount/ });
  await assert.rejects(open({ caFile: tokenFile }), { id: 'kms.failed' });
  for (const token of ['', 'two words', 'x'.repeat(5000)]) {
    writeFileSync(tokenFile, token);
    await assert.rejects(open(), { id: 'kms.failed', message: /does not hold a token/ });
  }
});
