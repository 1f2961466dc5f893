import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ZlError } from '@zerolatency/errors';
import { eventually, tempDir } from '@zerolatency/testing';
import { VaultSecrets, type VaultSettings } from '../src/adapters/vault/vault-secrets.ts';
import { reply, type VaultAnswer, vaultServer } from './support/vault-server.ts';

const MINUTE_MS = 60_000;
const KEY = 'secret/providers/claude#key';

async function world(t: TestContext, changes: Partial<VaultSettings> = {}) {
  const vault = await vaultServer(t);
  vault.secrets.set('secret/providers/claude', { key: 'sk-first', other: 7 });
  const clock = { nowMs: 1 };
  const stale: ZlError[] = [];
  const { url, caFile, tokenFile } = vault;
  const secrets = await VaultSecrets.open(
    {
      ...{ url, caFile, namespace: '', timeoutMs: 30_000, refreshMs: 5 * MINUTE_MS },
      auth: { tokenFile },
      ...changes,
    },
    { nowMs: () => clock.nowMs, onRead: (_reference, fault) => fault && stale.push(fault) },
  );
  t.after(() => secrets.close());
  const change = (key: string) => vault.secrets.set('secret/providers/claude', { key });
  return { vault, secrets, clock, stale, change };
}

test('[PROV-04] a secret in Vault is read once, and again when it is due or refused', async (t) => {
  const { vault, secrets, clock, change } = await world(t, { namespace: 'team-a' });
  const both = await Promise.all([secrets.read(KEY), secrets.read(KEY)]);
  assert.deepEqual(both, ['sk-first', 'sk-first']);
  assert.deepEqual(vault.asked, ['GET /v1/secret/data/providers/claude team-a']);
  change('sk-second');
  assert.equal(await secrets.read(KEY), 'sk-first');
  clock.nowMs += 5 * MINUTE_MS;
  await eventually(async () => (await secrets.read(KEY)) === 'sk-second');
  assert.equal(vault.asked.length, 2);
  change('sk-third');
  clock.nowMs += MINUTE_MS;
  assert.equal(await secrets.read(KEY, { isRefused: true }), 'sk-third');
  // A provider that refuses every key does not make the host ask Vault each time.
  change('sk-fourth');
  assert.equal(await secrets.read(KEY, { isRefused: true }), 'sk-third');
  assert.equal(vault.asked.length, 3);
});

test('[PROV-04] the host logs in to Vault, and again when its login has ended', async (t) => {
  const jwtFile = join(tempDir(t), 'jwt');
  await writeFile(jwtFile, 'service-account-jwt\n');
  const secretIdFile = join(tempDir(t), 'secret-id');
  await writeFile(secretIdFile, 'planted-secret-id');
  const logins: readonly VaultSettings['auth'][] = [
    { kubernetes: { mount: 'kubernetes', role: 'host', jwtFile } },
    { appRole: { mount: 'team/approle', roleId: 'host-role', secretIdFile } },
  ];
  for (const auth of logins) {
    const { vault, secrets, clock } = await world(t, { auth });
    assert.equal(await secrets.read(KEY), 'sk-first');
    clock.nowMs += MINUTE_MS;
    vault.tokens.clear();
    assert.equal(await secrets.read(KEY, { isRefused: true }), 'sk-first');
    assert.equal(vault.logins, 2);
  }
  await writeFile(secretIdFile, 'wrong-secret-id-0000');
  const auth = { appRole: { mount: 'approle', roleId: 'host-role', secretIdFile } };
  const { secrets } = await world(t, { auth });
  await assert.rejects(secrets.read(KEY), (error: ZlError) => {
    assert.match(error.message, /answered 400: invalid login/);
    assert.doesNotMatch(error.message, /wrong-secret-id/);
    return true;
  });
});

test('[PROV-04] while Vault is away its secrets stay in use for an hour', async (t) => {
  const { vault, secrets, clock, stale } = await world(t);
  await secrets.read(KEY);
  vault.answer = (response) => reply(response, 503, { errors: ['Vault is sealed'] });
  clock.nowMs += 30 * MINUTE_MS;
  assert.equal(await secrets.read(KEY), 'sk-first');
  await eventually(() => stale.length === 1);
  assert.match(String(stale[0]?.message), /503: Vault is sealed; unseal it/);
  clock.nowMs += 36 * MINUTE_MS;
  await assert.rejects(secrets.read(KEY), /sealed/);
});

test('[PROV-04] a secret that is deleted in Vault is not used any more', async (t) => {
  const { vault, secrets, clock, stale } = await world(t);
  await secrets.read(KEY);
  vault.secrets.clear();
  clock.nowMs += 5 * MINUTE_MS;
  await secrets.read(KEY);
  await eventually(() => stale.length === 1);
  await assert.rejects(secrets.read(KEY), /answered 404; check mount and path/);
});

test('[PROV-04] what Vault answers is bounded, and no error repeats a secret', async (t) => {
  const { vault, secrets } = await world(t, { timeoutMs: 3000 });
  const huge: VaultAnswer = (response) => {
    const piece = 'x'.repeat(1024 * 1024);
    const send = () => {
      while (!response.destroyed && response.write(piece));
    };
    response
      .writeHead(200)
      .on('drain', send)
      .on('error', () => {});
    send();
  };
  const answers: readonly [VaultAnswer, RegExp][] = [
    [huge, /too large/],
    [() => {}, /no answer within 3000 ms/],
    [(r) => void r.writeHead(307, { location: 'https://other.test/' }).end(), /answered 307/],
    [
      (r, { headers }) => reply(r, 500, { errors: [`token ${headers['x-vault-token']}`] }),
      /masked:key/,
    ],
    [(r) => reply(r, 200, { data: { data: null } }), /no such text field/],
    [(r) => reply(r, 200, { data: { data: { key: 5 } } }), /no such text field/],
    [(r) => void r.writeHead(200).end('<html>'), /cannot be read/],
  ];
  for (const [answer, message] of answers) {
    vault.answer = answer;
    await assert.rejects(secrets.read(KEY), (error: unknown) => {
      assert.ok(error instanceof ZlError);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /planted-vault-token|sk-first/);
      return true;
    });
  }
  vault.answer = undefined;
  assert.equal(await secrets.read(KEY), 'sk-first');
});
