import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceIdentity } from '@zerolatency/identity';
import { switchboard } from '../../test/switchboard.ts';

const NORTH_LAPTOP = { tenant: 'north', deviceId: 'laptop' };
const NORTH_DESKTOP = { tenant: 'north', deviceId: 'desktop' };

test('a device is found by its own tenant only, until it is gone', () => {
  const { devices, connect } = switchboard();
  const { device } = connect(0);
  assert.equal(devices.find(NORTH_LAPTOP), device);
  assert.equal(devices.find({ ...NORTH_LAPTOP, tenant: 'south' }), undefined);
  assert.equal(devices.find(NORTH_DESKTOP), undefined);
  devices.remove(device);
  assert.equal(devices.find(NORTH_LAPTOP), undefined);
});

test('[RLY-02] the end of an earlier connection does not remove the device that replaced it', () => {
  const { devices, connect } = switchboard();
  const earlier = connect(0).device;
  const { device, tenant } = connect(0);
  assert.equal(devices.put(device, tenant), device);
  assert.equal(devices.size, 1);
  devices.remove(earlier);
  assert.equal(devices.find(NORTH_LAPTOP), device);
  assert.deepEqual([devices.size, [...devices]], [1, [device]]);
  devices.remove(device);
  devices.remove(device);
  assert.deepEqual([devices.size, [...devices]], [0, []]);
});

test('[RLY-01] a tenant at its limit of devices has room for one that reconnects only', () => {
  const { devices, connect } = switchboard({ 'tenants.maxDevices': 1 });
  const hasRoomFor = (device: DeviceIdentity) => {
    const place = devices.reserve(device);
    place?.release();
    return place !== undefined;
  };
  assert.ok(hasRoomFor(NORTH_LAPTOP));
  const { device } = connect(0);
  assert.ok(hasRoomFor(NORTH_LAPTOP));
  assert.equal(hasRoomFor(NORTH_DESKTOP), false);
  assert.ok(hasRoomFor({ tenant: 'south', deviceId: 'laptop' }));
  devices.remove(device);
  assert.ok(hasRoomFor(NORTH_DESKTOP));
});

test('[RLY-01] a reserved place counts until it is released, once for each device', () => {
  const { devices, connect } = switchboard({ 'tenants.maxDevices': 2 });
  const laptops = [devices.reserve(NORTH_LAPTOP), devices.reserve(NORTH_LAPTOP)];
  const desktop = devices.reserve(NORTH_DESKTOP);
  const tablet = { tenant: 'north', deviceId: 'tablet' };
  assert.equal(devices.reserve(tablet), undefined);
  connect(1);
  desktop?.release();
  assert.equal(devices.reserve(tablet), undefined);
  laptops[0]?.release();
  laptops[0]?.release();
  assert.equal(devices.reserve(tablet), undefined);
  laptops[1]?.release();
  assert.ok(devices.reserve(tablet));
});

test('the usage of a tenant is kept as long as it has a device', () => {
  const { devices, connect } = switchboard();
  const first = connect(0);
  const second = connect(1);
  assert.equal(second.tenant, first.tenant);
  assert.notEqual(connect(2).tenant, first.tenant);
  devices.remove(first.device);
  assert.equal(devices.usageOf('north'), first.tenant);
  devices.remove(second.device);
  assert.notEqual(devices.usageOf('north'), first.tenant);
});
