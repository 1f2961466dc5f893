import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { DurationSchema, timestampMs } from '@bufbuild/protobuf/wkt';
import { verifyDeviceCredential } from '@zerolatency/identity';
import {
  eventually,
  makeAuthority,
  makeEnrolment,
  needsRedis,
  startRedis,
  tempDir,
} from '@zerolatency/testing';
import { createLocalJWKSet, decodeJwt, exportJWK } from 'jose';
import { openIssuer } from '../src/app/start-registrar.ts';
import { readProgramConfig, readRegistrarConfig, readRelayConfig } from '../src/config.ts';
import { silentLog } from './parts.ts';
import { enrolRequest, idOf, newKey, registrarFiles, registrarWorld } from './registrar-world.ts';

const keys = {
  Ed25519: newKey(),
  'P-256': generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey,
};

for (const [name, key] of Object.entries(keys)) {
  test(`[BRG-04] a one-time code gives a device with a key of ${name} its credential`, async (t) => {
    const { invite, stranger, registrar, enrolment, issuerJwk, logLines } = await registrarWorld(t);
    const code = await invite({ deviceId: 'laptop' });
    const audience = registrar.enrolUrl;
    const request = await enrolRequest(code.toLowerCase(), { audience, key });
    const enrolled = await stranger().enrol({ ...request, platform: 'linux x64' });
    assert.equal(enrolled.tenant, 'north');
    assert.equal(enrolled.deviceId, 'laptop');
    assert.deepEqual(enrolled.relayUrls, ['wss://relay.test/v1/device']);
    assert.equal(enrolled.relayCaPem, 'the relay authority');
    assert.equal(enrolled.policy?.envelope, 'a bundle');
    assert.deepEqual(enrolled.manifest?.publicKeysPem, ['a public key']);
    const issuers = createLocalJWKSet({ keys: [issuerJwk] });
    const { issuer } = enrolment;
    const rules = { issuer, nowMs: Date.now() };
    const { value } = await verifyDeviceCredential(enrolled.credential, issuers, rules);
    assert.deepEqual(value?.device, { tenant: 'north', deviceId: 'laptop' });
    assert.deepEqual(value?.key.jwk, await exportJWK(createPublicKey(key)));
    const { iat = 0, exp = 0 } = decodeJwt(enrolled.credential);
    assert.equal(exp - iat, 24 * 60 * 60);
    assert.ok(Math.abs(timestampMs(enrolled.expiresAt!) - exp * 1000) < 2000);
    const said = logLines.join('');
    assert.match(said, /"device_id":"laptop","replaces_earlier":true.*"platform":"linux x64"/);
    assert.doesNotMatch(said, new RegExp(code));
  });
}

test('[BRG-04] of two requests at once with one code exactly one wins', async (t) => {
  const { invite, stranger, registrar, metrics } = await registrarWorld(t);
  const audience = registrar.enrolUrl;
  for (let round = 0; round < 2; round++) {
    const code = await invite();
    const requests = await Promise.all([0, 1, 2].map(() => enrolRequest(code, { audience })));
    const results = await Promise.allSettled(requests.map((each) => stranger().enrol(each)));
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.equal(await idOf(stranger().enrol(requests[0]!)), 'enrolment.refused');
  }
  const text = await metrics();
  assert.match(text, /zl_registrar_codes_total\{service="tool-relay"\} 2/);
  assert.match(text, /zl_registrar_enrolments_total\{error_id="none".*\} 2/);
  assert.match(text, /zl_registrar_enrolments_total\{error_id="enrolment.refused".*\} 6/);
});

test(
  '[BRG-04] a registrar with its codes in Redis enrols a device once',
  needsRedis(),
  async (t) => {
    const { port, stop } = await startRedis({ dir: tempDir(t) });
    t.after(stop);
    const redis = { nodes: [`127.0.0.1:${port}`], commandTimeout: '10s' };
    const settings = { 'registrar.codes': { engine: 'redis', redis } };
    const { invite, stranger, registrar } = await registrarWorld(t, { settings });
    const request = await enrolRequest(await invite(), { audience: registrar.enrolUrl });
    assert.equal((await stranger().enrol(request)).tenant, 'north');
    assert.equal(await idOf(stranger().enrol(request)), 'enrolment.refused');
    const report = await (await fetch(`${registrar.adminUrl}/health`)).text();
    assert.match(report, /"name":"codes","status":"ok","detail":"redis"/);
  },
);

test('[BRG-04] a proof that does not hold leaves the code for its owner', async (t) => {
  const { invite, stranger, registrar } = await registrarWorld(t);
  const audience = registrar.enrolUrl;
  const code = await invite();
  const good = await enrolRequest(code, { audience });
  const another = await enrolRequest(await invite(), { audience });
  const late = await enrolRequest(code, { audience, nowMs: Date.now() - 600_000 });
  const elsewhere = await enrolRequest(code, { audience: 'https://other.test' });
  for (const request of [
    { ...good, deviceKeyJwk: another.deviceKeyJwk },
    { ...good, proof: another.proof },
    { ...good, proof: 'garbage' },
    { ...good, deviceKeyJwk: '{"kty":"oct","k":"c2VjcmV0"}' },
    late,
    elsewhere,
  ]) {
    assert.equal(await idOf(stranger().enrol(request)), 'enrolment.proof_invalid');
  }
  for (const deviceId of ['a b', '../other', 'é', 'x'.repeat(101), '-x', 'south/laptop']) {
    assert.equal(await idOf(stranger().enrol({ ...good, deviceId })), 'request.invalid');
  }
  const platform = 'linux\n{"level":"info"}';
  assert.equal(await idOf(stranger().enrol({ ...good, platform })), 'request.invalid');
  const { tenant, deviceId } = await stranger().enrol({ ...good, deviceId: 'laptop' });
  assert.equal(tenant, 'north');
  assert.match(deviceId, /^laptop-[0-9a-f]{10}$/);
});

test('[BRG-04] only a code for one device id replaces a device', async (t) => {
  const { invite, stranger, registrar } = await registrarWorld(t);
  const audience = registrar.enrolUrl;
  const enrol = async (code: string, deviceId: string) =>
    (await stranger().enrol({ ...(await enrolRequest(code, { audience })), deviceId })).deviceId;
  assert.equal(await enrol(await invite({ deviceId: 'laptop' }), 'other'), 'laptop');
  assert.equal(await enrol(await invite({ deviceId: 'laptop' }), ''), 'laptop');
  assert.notEqual(await enrol(await invite(), 'laptop'), 'laptop');
  assert.match(await enrol(await invite(), ''), /^device-/);
});

test('[BRG-04] unknown, used and expired codes get the same answer', async (t) => {
  const { invite, operator, stranger, registrar } = await registrarWorld(t);
  const audience = registrar.enrolUrl;
  const used = await invite();
  await stranger().enrol(await enrolRequest(used, { audience }));
  const lifetime = create(DurationSchema, { nanos: 1_000_000 });
  const { code: expired } = await (await operator()).createCode({ tenant: 'north', lifetime });
  const expiredAtMs = Date.now() + 1;
  await eventually(() => Date.now() > expiredAtMs);
  const answers = new Set<string>();
  for (const code of [used, expired, 'AAAAA-AAAAA-AAAAA-AAAAA', '', 'x'.repeat(1000)]) {
    const refused = stranger().enrol(await enrolRequest(code, { audience }));
    await assert.rejects(refused, (reason) => {
      assert.ok(reason instanceof Error);
      answers.add(reason.message);
      return true;
    });
  }
  assert.equal(answers.size, 1, [...answers].join());
});

test('[BRG-04] only operators make codes, for at most 15 minutes', async (t) => {
  const { operator, registrar } = await registrarWorld(t);
  for (const name of ['model-host', 'tool-relay', 'somebody']) {
    const other = await operator(name);
    assert.equal(await idOf(other.createCode({ tenant: 'north' })), 'identity.forbidden');
  }
  const rpc = await operator();
  const made = await rpc.createCode({ tenant: 'north' });
  const leftMs = timestampMs(made.expiresAt!) - Date.now();
  assert.ok(leftMs > 14 * 60_000 && leftMs <= 15 * 60_000);
  assert.equal(made.enrolUrl, registrar.enrolUrl);
  for (const request of [
    { tenant: '' },
    { tenant: 'a/b' },
    { tenant: 'north', deviceId: 'a b' },
    { tenant: 'north', lifetime: create(DurationSchema, { seconds: 901n }) },
    { tenant: 'north', lifetime: create(DurationSchema, { seconds: -1n }) },
    { tenant: 'north', lifetime: create(DurationSchema, {}) },
  ]) {
    assert.equal(await idOf(rpc.createCode(request)), 'request.invalid');
  }
});

test('[BRG-04] only the role registrar accepts the issuing key', async (t) => {
  const dir = tempDir(t);
  const { settings } = await registrarFiles(dir);
  const { certFile, keyFile, caFile } = await (await makeAuthority(dir)).server();
  const flags = { ...settings, tls: { certFile, keyFile, caFile } };
  const invalid = (message: RegExp) => ({ id: 'config.invalid', message });
  assert.equal(readProgramConfig({ env: {}, flags }).role, 'registrar');
  const asRelay = { env: {}, flags: { ...flags, role: 'relay' } };
  assert.throws(() => readProgramConfig(asRelay), invalid(/must not hold the issuing key/));
  assert.throws(() => readRelayConfig(asRelay), invalid(/must not hold the issuing key/));
  const anonymous = { env: {}, flags: { ...flags, 'enrolment.issuer': '' } };
  assert.throws(() => readProgramConfig(anonymous), invalid(/enrolment\.issuer/));

  const named = { ...flags, 'registrar.enrol.advertisedUrl': 'https://Registrar.TEST:443' };
  const { enrol } = readRegistrarConfig({ env: {}, flags: named }).registrar;
  assert.equal(enrol.advertisedUrl, 'https://registrar.test');
  const broken = { ...flags, 'registrar.enrol.advertisedUrl': 'https://a:b' };
  assert.throws(() => readRegistrarConfig({ env: {}, flags: broken }), invalid(/is not a URL/));

  const config = readRegistrarConfig({ env: {}, flags });
  chmodSync(settings['registrar.issuerKeyFile'], 0o640);
  await assert.rejects(openIssuer(config, silentLog), invalid(/chmod 600/));
  chmodSync(settings['registrar.issuerKeyFile'], 0o600);
  (await openIssuer(config, silentLog)).close();
  const { jwksFile } = await makeEnrolment(dir);
  const stale = readRegistrarConfig({
    env: {},
    flags: { ...flags, 'enrolment.jwksFile': jwksFile },
  });
  await assert.rejects(openIssuer(stale, silentLog), invalid(/relays would refuse/));
});
