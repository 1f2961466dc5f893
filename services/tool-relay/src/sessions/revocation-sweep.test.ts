import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextLoop } from 'node:timers/promises';
import { ZlError } from '@zerolatency/errors';
import type { DeviceIdentity } from '@zerolatency/identity';
import { switchboard } from '../../test/switchboard.ts';
import { RevocationSweep } from './revocation-sweep.ts';

const ENTRIES = 1000;
const REVOKED = new ZlError('device.revoked', 'it was revoked');

function sweepOf(listed: readonly DeviceIdentity[]) {
  const board = switchboard();
  const { device, cuts } = board.connect(0);
  let looked = 0;
  const sweep = new RevocationSweep({
    devices: {
      find: (address) => {
        looked += 1;
        return board.devices.find(address);
      },
    },
    revocations: { listed: () => listed, fault: () => REVOKED },
  });
  const looks = () => looked;
  return { device, cuts, sweep, looks };
}

function others(tenant: string): DeviceIdentity[] {
  return Array.from({ length: ENTRIES }, (_, index) => ({ tenant, deviceId: `other-${index}` }));
}

test('[BRG-04] a sweep goes through the list a bounded number of entries at a time', async () => {
  const { device, cuts, sweep, looks } = sweepOf([
    ...others('north'),
    { tenant: 'north', deviceId: 'laptop' },
  ]);
  assert.equal(device.lease.deviceId, 'laptop');
  sweep.start();
  assert.equal(looks(), 0, 'never on the turn of whoever brought the list');
  let most = 0;
  for (let turn = 0; cuts.length === 0; turn++) {
    assert.ok(turn < ENTRIES, 'the sweep does not end');
    const before = looks();
    await nextLoop();
    most = Math.max(most, looks() - before);
  }
  assert.ok(most <= 128, `${most} entries in one turn`);
  assert.deepEqual(cuts, ['revoked']);
});

test('[BRG-04] a list that arrives during a sweep starts it over, and a stop ends it', async () => {
  const { cuts, sweep, looks } = sweepOf([
    { tenant: 'north', deviceId: 'laptop' },
    ...others('north'),
  ]);
  sweep.start();
  await nextLoop();
  await nextLoop();
  sweep.start();
  await nextLoop();
  await nextLoop();
  assert.deepEqual(cuts, ['revoked', 'revoked']);
  sweep.stop();
  const looked = looks();
  await nextLoop();
  await nextLoop();
  assert.equal(looks(), looked);
  assert.ok(looked < ENTRIES);
});
