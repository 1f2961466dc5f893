import assert from 'node:assert/strict';
import { test } from 'node:test';
import { networkOf } from './network-of.ts';

test('an IPv4 address is its own network, however it is written', () => {
  for (const spelling of [
    '192.0.2.1',
    '::ffff:192.0.2.1',
    '::ffff:c000:201',
    '0000:0000:0000:0000:0000:ffff:c000:0201',
  ]) {
    assert.equal(networkOf(spelling), '192.0.2.1');
  }
  assert.equal(networkOf('::ffff:192.0.2.2'), '192.0.2.2');
});

test('an IPv6 address counts by its first 64 bits, however it is written', () => {
  for (const spelling of [
    '2001:db8::1',
    '2001:db8:0:0:ffff::2',
    '2001:0DB8:0000:0000:0000:0000:0000:0003',
  ]) {
    assert.equal(networkOf(spelling), '2001:db8:0:0::/64');
  }
  assert.equal(networkOf('2001:db8::1:0:0:0:1'), '2001:db8:0:1::/64');
  assert.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64');
  assert.equal(networkOf('::1'), '::1');
});
