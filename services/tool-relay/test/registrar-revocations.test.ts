import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  createEnrolmentCode,
  enrolmentCodeHash,
  issueDeviceCredential,
  signRenewal,
} from '@zerolatency/identity';
import {
  REVOCATION_LIST,
  RegistrarClient,
  type RevocationList,
  watchRevocations,
} from '@zerolatency/revocations';
import { revocationFiles } from '@zerolatency/revocations/testing';
import { openDocument, signerFromPem } from '@zerolatency/signing';
import { eventually, makeKey, tempDir } from '@zerolatency/testing';
import { decodeJwt } from 'jose';
import { MemoryCodes } from '../src/adapters/memory-codes/memory-codes.ts';
import type { CodeStore } from '../src/registrar/code-store.ts';
import { type CredentialIssuer, Enrolments } from '../src/registrar/enrolments.ts';
import { RevocationAuthority } from '../src/registrar/revocation-authority.ts';
import { silentLog } from './parts.ts';
import { enrolRequest, idOf, newKey, registrarWorld } from './registrar-world.ts';

const LAPTOP = { tenant: 'north', deviceId: 'laptop' };

async function worldWithList(t: TestContext) {
  const dir = tempDir(t);
  const key = makeKey();
  const keyFile = join(dir, 'revocations-key.pem');
  writeFileSync(keyFile, key.privatePem);
  chmodSync(keyFile, 0o600);
  const file = join(dir, 'revocations.dsse.json');
  const world = await registrarWorld(t, {
    settings: { 'registrar.revocations': { file, keyFile } },
  });
  const enrol = async (deviceKey = newKey()) => {
    const code = await world.invite({ deviceId: 'laptop' });
    const request = await enrolRequest(code, {
      audience: world.registrar.enrolUrl,
      key: deviceKey,
    });
    const { credential } = await world.stranger().enrol(request);
    return { credential, deviceKey };
  };
  return { ...world, file, key, enrol };
}

function listIn(envelope: string, publicPem: string): RevocationList {
  const opened = openDocument(REVOCATION_LIST, envelope, [publicPem]);
  assert.ok('content' in opened);
  return opened.content;
}

test('[BRG-04] a renewal gives the same device and key a later expiry', async (t) => {
  const { operator, enrol, metrics } = await worldWithList(t);
  const relay = await operator('tool-relay');
  const { credential, deviceKey } = await enrol();
  const renewed = await relay.renew({
    credential,
    proof: await signRenewal(deviceKey, credential),
  });
  const [before, after] = [decodeJwt(credential), decodeJwt(renewed.credential)];
  assert.deepEqual([after.sub, after.tenant, after.cnf], [before.sub, before.tenant, before.cnf]);
  assert.ok(after.exp! >= before.exp!);
  assert.match(await metrics(), /zl_registrar_renewals_total\{[^}]*"none"[^}]*\} 1/);
});

test('[BRG-04] a stolen credential without its key, and one of another authority, are not renewed', async (t) => {
  const { operator, enrol, enrolment } = await worldWithList(t);
  const relay = await operator('tool-relay');
  const { credential, deviceKey } = await enrol();
  const renew = async (credential: string, proof: Promise<string>) =>
    idOf(relay.renew({ credential, proof: await proof }));
  const other = await enrol();
  const forged = await issueDeviceCredential({
    device: LAPTOP,
    devicePublicKey: createPublicKey(deviceKey),
    issuer: enrolment.issuer,
    issuerKey: newKey(),
    ...{ nowMs: Date.now(), validForMs: 60_000 },
  });
  const refused = 'device.credential_invalid';
  assert.equal(await renew(credential, signRenewal(newKey(), credential)), refused);
  assert.equal(await renew(credential, signRenewal(deviceKey, other.credential)), refused);
  assert.equal(await renew(credential, Promise.resolve(credential)), refused);
  assert.equal(await renew(forged, signRenewal(deviceKey, forged)), refused);
  const operators = await operator();
  const asked = { credential, proof: await signRenewal(deviceKey, credential) };
  assert.equal(await idOf(operators.renew(asked)), 'identity.forbidden');
  assert.equal(await idOf(relay.revoke(LAPTOP)), 'identity.forbidden');
  assert.equal(await idOf((await operator('tool-relay')).createCode(LAPTOP)), 'identity.forbidden');
});

test('[BRG-04] a revocation is signed and pushed, ends renewals, and leaves a new enrolment alone', async (t) => {
  const { operator, enrol, key, file, logLines } = await worldWithList(t);
  const [relay, operators] = [await operator('tool-relay'), await operator()];
  const { credential, deviceKey } = await enrol();
  const stop = new AbortController();
  const pushed = relay.watchRevocations({ version: 0n }, { signal: stop.signal });
  const stream = pushed[Symbol.asyncIterator]();
  const first = await stream.next();
  assert.deepEqual(listIn(first.value!.envelope, key.publicPem).devices, []);
  const { version, revokedAt } = await operators.revoke(LAPTOP);
  const { value: update } = await stream.next();
  stop.abort();
  assert.equal(update!.version, version);
  const { devices } = listIn(update!.envelope, key.publicPem);
  assert.equal(devices[0]?.device, 'laptop');
  assert.equal(readFileSync(file, 'utf8'), update!.envelope);
  assert.ok(logLines.some((line) => line.includes('device revoked') && line.includes('operator')));

  const proof = await signRenewal(deviceKey, credential);
  assert.equal(await idOf(relay.renew({ credential, proof })), 'device.revoked');
  const again = await enrol(deviceKey);
  assert.ok(decodeJwt(again.credential).iat! > Number(revokedAt!.seconds));
  const next = await signRenewal(deviceKey, again.credential);
  await relay.renew({ credential: again.credential, proof: next });
  assert.equal(
    await idOf(operators.revoke({ tenant: 'north', deviceId: 'a b' })),
    'request.invalid',
  );
});

test('[BRG-04] a code made before the revocation of its device cannot be used', async (t) => {
  const { operator, invite, stranger, registrar, logLines } = await worldWithList(t);
  const enrol = async (code: string) =>
    stranger().enrol(await enrolRequest(code, { audience: registrar.enrolUrl }));
  const [stolen, desktops] = [await invite(LAPTOP), await invite({ deviceId: 'desktop' })];
  await (await operator()).revoke(LAPTOP);
  assert.equal(await idOf(enrol(stolen)), 'enrolment.refused');
  assert.equal((await enrol(desktops)).deviceId, 'desktop');
  assert.equal((await enrol(await invite(LAPTOP))).deviceId, 'laptop');
  assert.equal(logLines.filter((line) => line.includes('device enrolled')).length, 2);
});

test('[BRG-04] a device that is revoked while its credential is signed does not get it', async () => {
  const { open, world, list } = await authority();
  const revocations = await open();
  const { enrol, logged } = enrolmentOf(revocations, async () => {
    world.nowMs += 1;
    await revocations.revoke(LAPTOP, 'operator');
    return { credential: 'a credential', expiresAtMs: world.nowMs };
  });
  await assert.rejects(enrol(), { id: 'enrolment.refused' });
  assert.equal(list().devices.length, 1);
  assert.ok(!logged.includes('device enrolled'));
});

test('[BRG-04] a store that is away does not hide why no credential was issued', async () => {
  const { open } = await authority();
  const issue = () => Promise.reject(new Error('the key management service is away'));
  const { enrol, logged } = enrolmentOf(await open(), issue, () => Promise.reject(new Error()));
  await assert.rejects(enrol());
  assert.ok(logged.includes('no credential issued; correct what the error names'));
});

test('[BRG-04] a caller who has the list in force is told its version only', async (t) => {
  const { operator } = await worldWithList(t);
  const host = await operator('model-host');
  const stop = new AbortController();
  const updates = host.watchRevocations({ version: 1n }, { signal: stop.signal });
  const { value } = await updates[Symbol.asyncIterator]().next();
  stop.abort();
  assert.deepEqual([value!.version, value!.envelope], [1n, '']);
  const stranger = (await operator('someone')).watchRevocations({ version: 0n });
  assert.equal(await idOf(stranger[Symbol.asyncIterator]().next()), 'identity.forbidden');
});

test('[BRG-04] a follower has each list at once, keeps it for a restart, and takes none that is older', async (t) => {
  const { operator, authority, registrar, key } = await worldWithList(t);
  const { files, sign } = revocationFiles(tempDir(t));
  writeFileSync(join(files.keysDir, 'one.pem'), key.publicPem);
  const tls = await authority.client('tool-relay');
  const client = new RegistrarClient({ url: registrar.rpcUrl, tls: { current: () => tls } });
  const refused: string[] = [];
  const warned: string[] = [];
  const warn = (_: object, message: string) => warned.push(message);
  const watching = {
    ...{ ...files, log: { info() {}, warn } },
    onRefused: (reason: string) => refused.push(reason),
    pollMs: 2 ** 31 - 1,
  };
  const following = await watchRevocations({ ...watching, registrar: client });
  const credential = { ...LAPTOP, issuedAtMs: Date.now() - 1000 };
  await eventually(() => following.figures().version === 1);
  assert.equal(following.fault(credential), undefined);
  assert.ok(!warned.some((line) => line.includes('registrar')), warned.join('\n'));
  await (await operator()).revoke(LAPTOP);
  await eventually(() => following.fault(credential)?.id === 'device.revoked');
  assert.ok(following.figures().silentSeconds < 60);
  await eventually(() => listIn(readFileSync(files.file, 'utf8'), key.publicPem).version === 2);
  following.close();
  client.close();
  const restarted = await watchRevocations(watching);
  assert.equal(restarted.fault(credential)?.id, 'device.revoked', 'without the registrar');
  assert.deepEqual([restarted.status().status, restarted.figures().version], ['ok', 2]);
  restarted.close();

  // A registrar that lost its list begins at version 1 again.
  const later = await sign({ id: 'registrar', version: 9, signedBy: key });
  writeFileSync(files.file, later);
  const again = new RegistrarClient({ url: registrar.rpcUrl, tls: { current: () => tls } });
  refused.length = 0;
  const ahead = await watchRevocations({ ...watching, registrar: again });
  await eventually(() => refused.length > 0);
  assert.deepEqual([refused, ahead.figures().version], [['rolled_back'], 9]);
  assert.equal(ahead.status().status, 'degraded');
  assert.match(ahead.status().detail, /its version 2 is older than 9/);
  ahead.close();
  again.close();
});

test('[BRG-04] a list is taken without a reconnection once its key is trusted', async (t) => {
  const { operator, authority, registrar, key } = await worldWithList(t);
  const { files } = revocationFiles(tempDir(t));
  const tls = await authority.client('tool-relay');
  const client = new RegistrarClient({ url: registrar.rpcUrl, tls: { current: () => tls } });
  const refused: string[] = [];
  const following = await watchRevocations({
    ...{ ...files, registrar: client, log: { info() {}, warn() {} } },
    onRefused: (reason) => refused.push(reason),
  });
  t.after(() => {
    following.close();
    client.close();
  });
  await (await operator()).revoke(LAPTOP);
  await eventually(() => refused.includes('signature'));
  writeFileSync(join(files.keysDir, 'registrar.pem'), key.publicPem);
  await eventually(() => following.fault(LAPTOP)?.id === 'device.revoked', { timeoutMs: 60_000 });
  await eventually(() => following.status().status === 'ok', { timeoutMs: 60_000 });
});

/** One code for the laptop, and an issuer of the test. */
function enrolmentOf(
  revocations: RevocationAuthority,
  issue: CredentialIssuer['issue'],
  giveBack: CodeStore['add'] = async () => 'added',
) {
  const clock = { unixMs: () => Date.now(), monotonicMs: () => performance.now() };
  const codes = new MemoryCodes(clock);
  const code = createEnrolmentCode();
  const logged: string[] = [];
  const note = (_: object, message: string) => logged.push(message);
  const enrolments = new Enrolments({
    codes: {
      has: (hash) => codes.has(hash),
      take: (hash) => codes.take(hash),
      add: giveBack,
      status: () => codes.status(),
      close: () => {},
    },
    ...{ issuer: { issue }, revocations, clock },
    readDeviceFiles: async () => ({
      ...{ relayUrls: [], relayCaPem: '' },
      policy: { envelope: '', publicKeysPem: [] },
      manifest: { envelope: '', publicKeysPem: [] },
    }),
    keepPublicKey: async () => {},
    audience: () => 'https://registrar.test',
    log: { ...silentLog, info: note, warn: note, error: note },
    onEnded: () => {},
  });
  const enrol = async () => {
    const issuedAtMs = await revocations.issueMs(LAPTOP);
    const hash = enrolmentCodeHash(code.replaceAll('-', ''));
    await codes.add(hash, { ...LAPTOP, issuedAtMs, expiresAtMs: Date.now() + 60_000 });
    const request = await enrolRequest(code, { audience: 'https://registrar.test' });
    return enrolments.enrol({ ...request, deviceId: '', platform: '' }, '127.0.0.1');
  };
  return { enrol, logged };
}

/** An authority whose clock and disk the test holds. */
async function authority() {
  const key = makeKey();
  const world: { nowMs: number; saved?: string; lastIssuedMs: number; isFull: boolean } = {
    nowMs: Date.parse('2026-01-01T00:00:00Z'),
    lastIssuedMs: 0,
    isFull: false,
  };
  const signer = signerFromPem(key.privatePem);
  const open = () =>
    RevocationAuthority.open({
      store: {
        name: 'list',
        load: async () => world.saved,
        save: async (text) => {
          if (world.isFull) throw new Error('ENOSPC');
          world.saved = text;
        },
        loadLastIssuedMs: async () => world.lastIssuedMs,
        saveLastIssuedMs: async (unixMs) => {
          world.lastIssuedMs = unixMs;
        },
      },
      ...{ signer, publicPem: key.publicPem, retentionMs: 1000, log: silentLog },
      clock: { unixMs: () => world.nowMs },
    });
  const list = () => listIn(world.saved!, key.publicPem);
  return { world, open, list };
}

test('[BRG-04] the list survives a restart, counts on, and forgets what has expired', async () => {
  const { world, open, list } = await authority();
  const first = await open();
  const [one, two] = await Promise.all([
    first.revoke(LAPTOP, 'operator'),
    first.revoke({ tenant: 'north', deviceId: 'desktop' }, 'operator'),
  ]);
  assert.deepEqual([one.version, two.version], [2, 3]);
  world.nowMs += 2000;
  const second = await open();
  await second.revoke({ tenant: 'south', deviceId: 'laptop' }, 'operator');
  assert.deepEqual([list().version, list().devices.map(({ tenant }) => tenant)], [4, ['south']]);
  world.saved = 'garbage';
  await assert.rejects(open(), { id: 'file.unusable' });
});

test('[BRG-04] a second registrar with the same list does not lose what the first one revoked', async () => {
  const { world, open, list } = await authority();
  const [first, second] = [await open(), await open()];
  const desktop = { tenant: 'north', deviceId: 'desktop' };
  await first.revoke(LAPTOP, 'operator');
  await assert.rejects(second.revoke(desktop, 'operator'), {
    id: 'file.unusable',
    message: /one registrar/,
  });
  assert.deepEqual([list().version, list().devices[0]?.device], [2, 'laptop']);
  await (await open()).revoke(desktop, 'operator');
  assert.equal(list().devices.length, 2);
  // A list that somebody removed is written again.
  delete world.saved;
  await first.revoke(LAPTOP, 'operator');
  assert.equal(list().devices[0]?.device, 'laptop');
});

test('[BRG-04] a full disk fails the revocation, and one that is told has been written', async () => {
  const { world, open, list } = await authority();
  const revocations = await open();
  world.isFull = true;
  await assert.rejects(revocations.revoke(LAPTOP, 'operator'), { id: 'file.unusable' });
  assert.equal(revocations.fault({ ...LAPTOP, issuedAtMs: 0 }), undefined);
  world.isFull = false;
  await revocations.revoke(LAPTOP, 'operator');
  assert.equal(list().devices.length, 1);
});

test('[BRG-04] a clock that is set back neither spares a credential nor revokes the next one', async () => {
  const { world, open } = await authority();
  for (const isRestarted of [false, true]) {
    const running = await open();
    world.nowMs += 3_600_000;
    const issuedAtMs = await running.issueMs(LAPTOP);
    world.nowMs -= 3_600_000;
    const revocations = isRestarted ? await open() : running;
    await revocations.revoke(LAPTOP, 'operator');
    assert.equal(revocations.fault({ ...LAPTOP, issuedAtMs })?.id, 'device.revoked');
    const againMs = await revocations.issueMs(LAPTOP);
    assert.equal(revocations.fault({ ...LAPTOP, issuedAtMs: againMs }), undefined);
    world.nowMs = againMs;
  }
});
