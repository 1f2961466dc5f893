import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { test } from 'node:test';
import type { ZlError } from '@zerolatency/errors';
import { Egress } from './egress.ts';

const PRIVATE = [
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '127.0.0.1',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::10.0.0.1',
  '::ffff:10.0.0.1',
  '::ffff:7f00:1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b:1::1',
  '2001::1',
  '2001:db8::1',
  '2002:a00:1::1',
  'fc00::1',
  'fd12:3456::1',
  'fe80::1',
  'fe80::1%lo',
  'ff02::1',
];
const PUBLIC = [
  '1.1.1.1',
  '172.32.0.1',
  '192.169.0.1',
  '223.255.255.255',
  '2606:4700:4700::1111',
  '::ffff:1.1.1.1',
  '64:ff9b::101:101',
];

test('[HOST-11] private, loopback, link-local and other special addresses are refused in every spelling', () => {
  const egress = new Egress();
  for (const address of PRIVATE) assert.equal(egress.isAllowed(address), false, address);
  for (const address of PUBLIC) assert.equal(egress.isAllowed(address), true, address);
});

test('[HOST-11] an allowed network admits its own addresses and no others', () => {
  const egress = new Egress(['10.1.0.0/16', 'fd00::/8']);
  for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '64:ff9b::a01:203', 'fd12:3456::1']) {
    assert.equal(egress.isAllowed(address), true, address);
  }
  for (const address of ['10.2.0.1', '127.0.0.1', 'fc00::1', '::1']) {
    assert.equal(egress.isAllowed(address), false, address);
  }
  for (const network of ['10.1.2.3', '10.0.0.0/33', 'fd00::/', 'example.org/8', '']) {
    assert.throws(
      () => new Egress([network]),
      (error: ZlError) => error.id === 'config.invalid' && error.message.includes(`"${network}"`),
    );
  }
});

test('[HOST-11] a URL whose host is an address is checked as the socket would read it', () => {
  const egress = new Egress();
  const disguised = ['https://0x7f.1/', 'https://2130706433/', 'https://[::ffff:127.0.0.1]/'];
  for (const url of [...disguised, 'https://[::1]:8443/', 'https://10.0.0.1/']) {
    assert.throws(
      () => egress.assertHost(new URL(url).hostname),
      (error: ZlError) => error.id === 'egress.refused',
      url,
    );
  }
  egress.assertHost(new URL('https://1.1.1.1/').hostname);
  egress.assertHost('localhost');
});

test('[HOST-11] the lookup of a socket yields only addresses that were checked', async () => {
  const lookup = (egress: Egress, all: boolean) =>
    new Promise<string | LookupAddress[]>((resolve, reject) => {
      egress.lookup('localhost', { all }, (error, found) =>
        error ? reject(error) : resolve(found),
      );
    });
  for (const all of [true, false]) {
    await assert.rejects(
      lookup(new Egress(), all),
      (error: ZlError) => error.id === 'egress.refused',
    );
  }
  const loopback = new Egress(['127.0.0.0/8']);
  assert.equal(await lookup(loopback, false), '127.0.0.1');
  assert.deepEqual(await lookup(loopback, true), [{ address: '127.0.0.1', family: 4 }]);
});
