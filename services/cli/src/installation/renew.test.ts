import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { SERVER_MANIFEST } from '@zerolatency/manifest';
import { type Bundle, POLICY_BUNDLE } from '@zerolatency/policy';
import {
  digestOf,
  generateKeyPair,
  signDocument,
  signerFromPem,
  verifyDocument,
} from '@zerolatency/signing';
import { decodeJwt } from 'jose';
import { type Installed, installed } from '../../test/installed.ts';
import { readKeys } from '../input.ts';
import { needsEnrolment } from './enrol-device.ts';
import { renewExpiring } from './renew.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

async function bundleOf({ layout }: Installed, nowMs: number): Promise<Bundle> {
  const keys = await readKeys(layout.policy.keys);
  const text = await readFile(layout.policy.bundle, 'utf8');
  const verified = verifyDocument(POLICY_BUNDLE, text, { keys, nowMs });
  if ('error' in verified) throw verified.error;
  return verified.content;
}

async function manifestOf({ layout }: Installed) {
  const keys = await readKeys(layout.device.manifestKeys);
  const text = await readFile(layout.device.manifest, 'utf8');
  const verified = verifyDocument(SERVER_MANIFEST, text, { keys, nowMs: Date.now() });
  if ('error' in verified) throw verified.error;
  return verified.content;
}

async function contents({ layout }: Installed): Promise<readonly string[]> {
  const { policy, device, tls } = layout;
  const files = [policy.bundle, device.manifest, device.credential, tls('model-host').cert];
  return await Promise.all(files.map((file) => readFile(file, 'utf8')));
}

test('renews nothing in the first half of its lifetime', async (t) => {
  const made = await installed(t);
  const before = await contents(made);
  await renewExpiring(made.layout, { nowMs: Date.now() + 6 * DAY_MS });
  assert.deepEqual(await contents(made), before);
});

test('renews a bundle past half its lifetime as the next version with the same rules', async (t) => {
  const made = await installed(t);
  const { layout } = made;
  const first = await bundleOf(made, Date.now());
  const signer = signerFromPem(await readFile(layout.policy.key, 'utf8'));
  const own = { ...first, version: 7, rules: [], graceMs: 60_000 };
  await writeFile(layout.policy.bundle, await signDocument(POLICY_BUNDLE, own, [signer]));
  const nowMs = Date.now() + 8 * DAY_MS;
  await renewExpiring(layout, { nowMs });
  const renewed = await bundleOf(made, nowMs);
  assert.equal(renewed.version, 8);
  assert.equal(renewed.previousDigest, digestOf(own));
  assert.deepEqual([renewed.rules, renewed.graceMs, renewed.id], [[], 60_000, first.id]);
  assert.equal(Date.parse(renewed.issuedAt), nowMs);
  assert.equal(Date.parse(renewed.expiresAt), nowMs + 14 * DAY_MS);
});

test('does not renew a bundle that another key signed', async (t) => {
  const made = await installed(t);
  const theirs = signerFromPem(generateKeyPair().privatePem);
  const text = await signDocument(POLICY_BUNDLE, await bundleOf(made, Date.now()), [theirs]);
  await writeFile(made.layout.policy.bundle, text);
  await renewExpiring(made.layout, { nowMs: Date.now() + 20 * DAY_MS });
  assert.equal(await readFile(made.layout.policy.bundle, 'utf8'), text);
});

test('[BRG-04] a device without a credential, or past half of its life, is to be enrolled', async (t) => {
  const { layout } = await installed(t);
  const { iat = 0, exp = 0 } = decodeJwt(await readFile(layout.device.credential, 'utf8'));
  const halfMs = ((iat + exp) / 2) * 1000;
  assert.equal(await needsEnrolment(layout, halfMs - 1000), false);
  assert.equal(await needsEnrolment(layout, halfMs + 1000), true);
  await rm(layout.device.credential);
  assert.equal(await needsEnrolment(layout), true);
});

test('renews certificates past half their lifetime from the same authority', async (t) => {
  const { layout } = await installed(t);
  const files = layout.tls('model-host');
  const before = await readFile(files.cert);
  await renewExpiring(layout, { nowMs: Date.now() + 200 * DAY_MS });
  const after = new X509Certificate(await readFile(files.cert));
  assert.notEqual(String(after), String(new X509Certificate(before)));
  assert.ok(after.verify(new X509Certificate(await readFile(layout.authority.cert)).publicKey));
  assert.match(await readFile(files.key, 'utf8'), /PRIVATE KEY/);
});

test('the manifest of an installation names no file that a new Node or project would change', async (t) => {
  const made = await installed(t);
  const { servers } = await manifestOf(made);
  const settings = { roots: [made.layout.device.files] };
  assert.deepEqual(servers, [{ name: 'fs', builtin: 'fs', settings }]);
});
