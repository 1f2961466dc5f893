import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedParts } from '../../test/parts.ts';
import { LinkGate } from './link-gate.ts';
import { LiveDevices } from './live-devices.ts';

test('a link whose socket never opens gives its place back', () => {
  const parts = sharedParts({ 'links.max': 1, 'links.allowedHosts': ['host-1'] });
  const { config, clock } = parts;
  const devices = new LiveDevices(config.tenants, clock.monotonicMs);
  const gate = new LinkGate(
    { ...parts, limits: config.links, devices, isDraining: () => false },
    { verify: () => ({ name: 'host-1' }) },
  );
  const arrival = { endSocket: () => true, named: () => true, proved() {}, gone() {} };
  const admit = () =>
    gate.admit({ arrival, endpoint: 'link', address: '192.0.2.1', authorization: '' });
  const { listener } = admit();
  assert.equal(admit().refusal?.error.id, 'limit.exceeded');
  listener!.onAbandoned();
  assert.equal(gate.size, 0);
  assert.notEqual(admit().listener, undefined);
});
