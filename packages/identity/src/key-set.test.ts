import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeKey, tempDir } from '@zerolatency/testing';
import { SignJWT } from 'jose';
import { verifyDeviceCredential } from './device-credential.ts';
import { watchKeySet } from './key-set.ts';

const NEVER_MS = 2 ** 31 - 1;

async function setUp(t: TestContext, set: unknown) {
  const file = join(tempDir(t), 'keys.json');
  const write = (value: unknown) => writeFileSync(file, JSON.stringify(value));
  write(set);
  const warnings: string[] = [];
  const log = { info() {}, warn: (_: object, message: string) => warnings.push(message) };
  const open = () => watchKeySet({ file, setting: 'x.keysFile', log, pollMs: NEVER_MS });
  return { file, write, warnings, open };
}

test('a changed file brings new keys, and an unusable one leaves the last in force', async (t) => {
  const [first, second] = [makeKey().publicJwk, makeKey().publicJwk];
  const { file, write, warnings, open } = await setUp(t, { keys: [first] });
  const keySet = await open();
  t.after(() => keySet.close());
  const before = keySet.keys();
  write({ keys: [second] });
  await keySet.check();
  const after = keySet.keys();
  assert.notEqual(after, before);
  for (const bad of [
    'text',
    {},
    { keys: [makeKey().privateJwk] },
    { keys: [{ kty: 'oct', k: 'a' }] },
  ]) {
    write(bad);
    await keySet.check();
    assert.equal(keySet.keys(), after);
  }
  rmSync(file);
  await keySet.check();
  assert.equal(keySet.keys(), after);
  assert.match(warnings[0] ?? '', /x\.keysFile is unusable/);
  assert.equal(keySet.status().status, 'degraded');
  assert.match(keySet.status().detail, /the last keys stay in force: .*no such file/);
  write({ keys: [second] });
  await keySet.check();
  assert.deepEqual(keySet.status(), { status: 'ok', detail: file });
});

test('a file that is missing, broken or secret at the start is an error that names its setting', async (t) => {
  const { file, write, open } = await setUp(t, {});
  for (const bad of [{}, { keys: 7 }, { keys: [makeKey().privateJwk] }]) {
    write(bad);
    await assert.rejects(open(), { id: 'config.invalid', message: /x\.keysFile: .* public keys/ });
  }
  rmSync(file);
  await assert.rejects(open(), { id: 'config.invalid', message: /x\.keysFile: .* cannot be read/ });
});

test('a credential that names no key is verified by whichever key of the set fits', async (t) => {
  const pair = [makeKey(), makeKey()];
  const keys = pair.map(({ publicJwk: { kid: _, ...jwk } }) => jwk);
  const keySet = await (await setUp(t, { keys })).open();
  t.after(() => keySet.close());
  const { kty, crv, x } = makeKey().publicJwk;
  const sign = ({ privateKey }: (typeof pair)[number]) =>
    new SignJWT({ sub: 'laptop', tenant: 'north', exp: 100, cnf: { jwk: { kty, crv, x } } })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'zl-device+jwt' })
      .sign(privateKey);
  const rules = { nowMs: 0 };
  for (const key of pair) {
    const { error } = await verifyDeviceCredential(await sign(key), keySet.keys(), rules);
    assert.equal(error, undefined);
  }
  const { error } = await verifyDeviceCredential(await sign(makeKey()), keySet.keys(), rules);
  assert.match(error ?? '', /signature/);
});
