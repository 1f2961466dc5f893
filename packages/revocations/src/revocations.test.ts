import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeKey, tempDir } from '@zerolatency/testing';
import { type ListFields, revocationFiles, revoked } from '../test/index.ts';
import { expectRevocations, watchRevocations } from './index.ts';

/** Looks only happen when the test asks. */
const NEVER_MS = 2 ** 31 - 1;
const NOON_MS = Date.parse('2026-01-01T12:00:00.500Z');
const LAPTOP = { tenant: 'north', deviceId: 'laptop' };

function setUp(t: TestContext) {
  const written = revocationFiles(tempDir(t));
  const logged: string[] = [];
  const note = (_: object, message: string) => logged.push(message);
  const start = async () => {
    const refused: string[] = [];
    const revocations = await watchRevocations({
      ...written.files,
      log: { info: note, warn: note },
      onRefused: (reason) => refused.push(reason),
      pollMs: NEVER_MS,
    });
    t.after(() => revocations.close());
    return { ...revocations, refused };
  };
  return { ...written, logged, start };
}

test('[BRG-04] an entry revokes what its device was issued until then, and nothing else', async (t) => {
  const { publish, start } = setUp(t);
  await publish(revoked('laptop', NOON_MS));
  const { fault } = await start();
  const idOf = (issuedAtMs: number | undefined, device = LAPTOP) =>
    fault({ ...device, issuedAtMs })?.id;
  // A credential states whole seconds, so the second of the revocation is revoked too.
  assert.equal(idOf(Math.floor(NOON_MS / 1000) * 1000), 'device.revoked');
  assert.equal(idOf(0), 'device.revoked');
  assert.equal(idOf(undefined), 'device.revoked', 'who does not say when is not given the doubt');
  assert.equal(idOf(NOON_MS + 500), undefined, 'enrolled again');
  assert.equal(idOf(0, { tenant: 'south', deviceId: 'laptop' }), undefined);
  assert.equal(idOf(0, { tenant: 'north', deviceId: 'desktop' }), undefined);
});

test('[BRG-04] a bad list is refused with its reason, and the one in force stays', async (t) => {
  const { publish, sign, put, start, key, files, logged } = setUp(t);
  const old = await sign({});
  await publish(revoked('laptop'));
  const { check, refused, figures, status, fault } = await start();
  const second = makeKey();
  const twice = { devices: [revoked('laptop'), revoked('laptop')] };
  await assert.rejects(sign(twice), /laptop of north is listed twice/);
  const bad: [string, string][] = [
    ['rolled_back', old],
    ['signature', await sign({ signedBy: second })],
    ['rolled_back', await sign({ id: 'another' })],
    ['not_yet', await sign({ issuedAt: '2999-01-01T00:00:00Z' })],
    ['malformed', 'garbage'],
    ['unreadable', ' '.repeat(5_000_000)],
  ];
  for (const [reason, text] of bad) {
    put(text);
    await check();
    assert.equal(refused.at(-1), reason);
    assert.equal(status().status, 'degraded');
    assert.deepEqual([figures().version, figures().devices], [2, 1]);
    assert.equal(fault(LAPTOP)?.id, 'device.revoked');
  }
  assert.equal(refused.length, bad.length);
  assert.ok(logged.some((line) => line.includes('its version 1 is older than 2')));
  // Nobody vouches for the list in force once its key is revoked.
  writeFileSync(join(files.keysDir, 'one.pem'), second.publicPem);
  put(await sign({ signedBy: key }));
  await check();
  assert.equal(refused.at(-1), 'signature');
  assert.deepEqual([fault(LAPTOP)?.id, status().status], ['revocations.unavailable', 'down']);
  put(await sign({ signedBy: second }));
  await check();
  assert.deepEqual([fault(LAPTOP), status().status], [undefined, 'ok']);
});

test('[BRG-04] a restart accepts no older list, and admits nobody without one', async (t) => {
  const { publish, sign, put, start, files } = setUp(t);
  const old = await sign({});
  await publish(revoked('laptop'));
  (await start()).close();
  for (const text of [old, 'garbage']) {
    put(text);
    const { fault, status } = await start();
    assert.equal(fault(LAPTOP)?.id, 'revocations.unavailable');
    assert.equal(status().status, 'down');
    await assert.rejects(expectRevocations(files, { info() {}, warn() {} }));
  }
  rmSync(files.file);
  const { fault, onChange, check } = await start();
  const inForce: boolean[] = [];
  onChange((isInForce) => inForce.push(isInForce));
  assert.equal(fault(LAPTOP)?.id, 'revocations.unavailable');
  await publish();
  await check();
  assert.deepEqual([fault(LAPTOP), inForce], [undefined, [false, true]]);
  await expectRevocations(files, { info() {}, warn() {} });
});

test('[BRG-04] a list of the most devices with the longest names can be signed and read', async (t) => {
  const { sign, put, start } = setUp(t);
  const longest = (count: number): ListFields => ({
    devices: Array.from({ length: count }, (_, index) =>
      revoked(`${index}`.padEnd(128, 'd'), NOON_MS, 't'.repeat(128)),
    ),
  });
  put(await sign(longest(8192)));
  const { figures, fault, listed } = await start();
  assert.equal(figures().devices, 8192);
  assert.equal(
    [...listed()].filter((device) => fault(device)?.id === 'device.revoked').length,
    8192,
  );
  await assert.rejects(sign(longest(8193)), { id: 'revocations.invalid' });
});
