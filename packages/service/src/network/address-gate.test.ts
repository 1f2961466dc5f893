import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressGate } from './address-gate.ts';

test('[RLY-01] an address that connects too often waits, while another does not', () => {
  const gate = new AddressGate(2);
  const admitted = Array.from({ length: 30 }, () => gate.admit('192.0.2.1', 0));
  assert.equal(admitted.filter(Boolean).length, 20);
  assert.ok(gate.admit('192.0.2.2', 0));
  assert.equal(gate.admit('192.0.2.1', 400), false);
  assert.ok(gate.admit('192.0.2.1', 1000));
});

test('[RLY-01] the addresses of one IPv6 network count as one, and those of mapped IPv4 do not', () => {
  const gate = new AddressGate(1);
  const admitted = (addresses: string[]) => addresses.filter((each) => gate.admit(each, 0)).length;
  const network = ['2001:db8::1', '2001:db8::2:1', '2001:0db8:0000:0000:ffff:0000:0000:0003'];
  assert.equal(admitted(Array.from({ length: 30 }, (_, i) => network[i % 3]!)), 10);
  assert.equal(admitted(['2001:db8:0:1::1', '2001:db8::1:0:0:0:1', '2001:db8:1::1']), 3);
  const mapped = ['::ffff:192.0.2.1', '0000:0000:0000:0000:0000:ffff:c000:0202', '::1'];
  for (const address of mapped) assert.equal(admitted(Array(30).fill(address)), 10, address);
});

test('[RLY-01] a full table forgets the networks seen longest ago, and refuses no newcomer', () => {
  const gate = new AddressGate(1);
  const spend = (network: string) => {
    while (gate.admit(network, 0));
  };
  spend('quiet');
  spend('busy');
  for (let i = 0; i < 19_999; i++) {
    assert.ok(gate.admit(`network ${i}`, 0));
    assert.equal(gate.admit('busy', 0), false);
  }
  assert.ok(gate.admit('quiet', 0));
});
