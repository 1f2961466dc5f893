import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ZlError } from '@zerolatency/errors';
import type { Frame } from '@zerolatency/frame';
import { issueDeviceCredential } from '@zerolatency/identity';
import { CredentialSchema, RenewSchema } from '@zerolatency/proto/bridge';
import { eventually, FakeClock, type FakeTimer } from '@zerolatency/testing';
import { Renewal } from './renewal.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const newKey = () => generateKeyPairSync('ed25519').privateKey;
const issuerKey = newKey();

/** A renewal whose relay, disk and clock the test controls. */
async function renewing({ skewMs = 0 } = {}) {
  const clock = new FakeClock();
  const key = newKey();
  const issue = (nowMs: number, of: { deviceId?: string; key?: KeyObject } = {}) =>
    issueDeviceCredential({
      device: { tenant: 'north', deviceId: of.deviceId ?? 'laptop' },
      devicePublicKey: createPublicKey(of.key ?? key),
      ...{ issuer: 'authority', issuerKey, nowMs, validForMs: DAY_MS },
    });
  const relayNowMs = () => clock.nowMs() - skewMs;
  const disk = { credential: await issue(relayNowMs()), isFull: false };
  const first = disk.credential;
  const sent: string[] = [];
  const ended: string[] = [];
  const renewal = new Renewal({
    clock: {
      ...clock,
      monotonicMs: clock.nowMs,
      clearTimeout: (timer) => clock.clearTimeout(timer as FakeTimer),
    },
    random: () => 0,
    loadIdentity: async () => ({ credential: disk.credential, key }),
    save: async (credential) => {
      if (disk.isFull) throw new ZlError('file.unusable', 'ENOSPC');
      disk.credential = credential;
    },
    send: ({ payload }: Frame) => sent.push(fromBinary(RenewSchema, payload).credential),
    onEnded: (failure) => ended.push(failure?.message ?? 'renewed'),
  });
  const attach = () => renewal.attached({ features: ['renewal'], skewMs });
  const answer = (message: { credential?: string; errorId?: string }) => {
    const payload = toBinary(CredentialSchema, create(CredentialSchema, message));
    renewal.hear({ payload });
  };
  /** Reading files and signing take time on another thread, which no clock here measures. */
  const asked = (times: number) =>
    eventually(() => {
      clock.advance(1);
      return sent.length >= times;
    });
  const outcomes = (count: number) => eventually(() => ended.length >= count);
  return {
    clock,
    renewal,
    disk,
    first,
    sent,
    ended,
    issue,
    relayNowMs,
    attach,
    answer,
    asked,
    outcomes,
  };
}

test('[BRG-04] at half its life a credential is renewed, and the new one is kept', async () => {
  const { clock, renewal, disk, sent, ended, issue, relayNowMs, attach, answer, asked, outcomes } =
    await renewing();
  attach();
  for (let hour = 0; hour < 11; hour++) {
    clock.advance(HOUR_MS);
    await new Promise(setImmediate);
  }
  assert.deepEqual(sent, []);
  clock.advance(2 * HOUR_MS);
  await asked(1);
  const next = await issue(relayNowMs());
  answer({ credential: next });
  await outcomes(1);
  assert.deepEqual([ended, disk.credential, renewal.failure], [['renewed'], next, undefined]);
  // Nobody asked for this one.
  answer({ credential: await issue(relayNowMs() + HOUR_MS) });
  await new Promise(setImmediate);
  assert.equal(disk.credential, next);
});

test('[BRG-04] a device whose clock is wrong by half a day renews by the time of its relay', async () => {
  for (const skewMs of [12 * HOUR_MS, -12 * HOUR_MS]) {
    const { clock, sent, attach, asked } = await renewing({ skewMs });
    attach();
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    clock.advance(HOUR_MS);
    assert.deepEqual(sent, []);
    clock.advance(12 * HOUR_MS);
    await asked(1);
  }
});

test('[BRG-04] the credential of another device, of another key or of before is not kept', async () => {
  const { clock, renewal, disk, first, ended, issue, relayNowMs, attach, answer, asked, outcomes } =
    await renewing();
  clock.advance(13 * HOUR_MS);
  attach();
  const answers = [
    [await issue(relayNowMs(), { deviceId: 'other' }), /of another device/],
    [await issue(relayNowMs(), { key: newKey() }), /for another key/],
    [first, /does not expire later/],
    ['garbage', /cannot be read/],
  ] as const;
  for (const [index, [credential, why]] of answers.entries()) {
    await asked(index + 1);
    answer({ credential });
    await outcomes(index + 1);
    assert.match(ended.at(-1)!, why);
    assert.equal(disk.credential, first);
    assert.equal(renewal.failure?.id, 'device.credential_invalid');
    clock.advance(HOUR_MS);
  }
});

test('[BRG-04] a refusal, silence and a full disk are tried again, and keep the credential', async () => {
  const { clock, renewal, disk, first, ended, issue, relayNowMs, attach, answer, asked, outcomes } =
    await renewing();
  clock.advance(13 * HOUR_MS);
  attach();
  await asked(1);
  answer({ errorId: 'limit.exceeded' });
  await outcomes(1);
  assert.equal(renewal.failure?.id, 'limit.exceeded');
  clock.advance(HOUR_MS);
  await asked(2);
  clock.advance(10_000);
  await outcomes(2);
  assert.equal(renewal.failure?.id, 'relay.unreachable');
  clock.advance(HOUR_MS);
  await asked(3);
  disk.isFull = true;
  answer({ credential: await issue(relayNowMs()) });
  await outcomes(3);
  assert.equal(disk.credential, first);
  assert.match(ended[2]!, /ENOSPC/);
  disk.isFull = false;
  clock.advance(HOUR_MS);
  await asked(4);
  answer({ credential: await issue(relayNowMs()) });
  await outcomes(4);
  assert.deepEqual([renewal.failure, ended[3]], [undefined, 'renewed']);
});

test('[BRG-04] a relay that does not renew is asked nothing, and one that was left waits for nothing', async () => {
  const { clock, renewal, sent, attach, asked, ended } = await renewing();
  clock.advance(13 * HOUR_MS);
  renewal.attached({ features: [], skewMs: 0 });
  await new Promise(setImmediate);
  assert.deepEqual(sent, []);
  attach();
  await asked(1);
  renewal.detached();
  clock.advance(DAY_MS);
  assert.deepEqual(ended, []);
});
