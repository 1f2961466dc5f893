import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { proxyHeader } from '../../../test/proxied.ts';
import { proxiedPeer, proxyHeaderBytes } from './proxy-header.ts';

const V4 = '198.51.100.7';
const V6 = '2001:db8:0:1:0:0:0:5';

/** What haproxy 2.6 sent: without extensions, with a checksum and an empty id, for a health check. */
const PLAIN = '0d0a0d0a000d0a515549540a2111000c7f0000017f00000197a4490d';
const EXTENDED = '0d0a0d0a000d0a515549540a211100167f0000017f000001e18e490f03000466bdae3a050000';
const HEALTH_CHECK = '0d0a0d0a000d0a515549540a20000000';

const withByte = (index: number, byte: number) => {
  const header = proxyHeader(V4);
  header[index] = byte;
  return header;
};

test('[RLY-01] a PROXY header names an IPv4 or IPv6 peer, or the balancer itself', () => {
  const extensions = Buffer.alloc(536 - 28, 4);
  const cases: [Buffer, unknown][] = [
    [proxyHeader(V4), { address: V4 }],
    [proxyHeader(V6), { address: V6 }],
    [proxyHeader(V4, { extensions }), { address: V4 }],
    [Buffer.from(PLAIN, 'hex'), { address: '127.0.0.1' }],
    [Buffer.from(EXTENDED, 'hex'), { address: '127.0.0.1' }],
    [Buffer.from(HEALTH_CHECK, 'hex'), 'own'],
    [proxyHeader(V4, { command: 0x20 }), 'own'],
  ];
  for (const [header, expected] of cases) {
    assert.equal(proxyHeaderBytes(header.subarray(0, 16)), header.length);
    assert.deepEqual(proxiedPeer(header), expected);
  }
});

test('[RLY-01] refuses other versions, commands, families and sizes of a PROXY header', () => {
  const cases: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    'half a head': proxyHeader(V4).subarray(0, 15),
    'version 1': Buffer.from('PROXY TCP4 198.51.100.7 192.0.2.1 12345 8443\r\n'),
    'version 3': withByte(12, 0x31),
    'an unknown command': withByte(12, 0x22),
    datagrams: withByte(13, 0x12),
    'a unix socket': proxyHeader(V4, { family: 0x31, addresses: Buffer.alloc(216) }),
    'no family': proxyHeader(V4, { family: 0, addresses: Buffer.alloc(0) }),
    'too few addresses': proxyHeader(V4, { addresses: Buffer.alloc(11) }),
    'IPv4 addresses as IPv6': withByte(13, 0x21),
    '537 bytes': proxyHeader(V4, { extensions: Buffer.alloc(536 - 27) }),
    'a byte too much': Buffer.concat([proxyHeader(V4), Buffer.alloc(1)]),
    'a TLS hello': Buffer.from('16030100c2010000be0303000000000000000000', 'hex'),
  };
  for (const [what, header] of Object.entries(cases)) {
    assert.equal(proxiedPeer(header), undefined, what);
  }
});

test('[RLY-01] whatever the bytes, a PROXY header is refused or names an address', () => {
  const header = fc
    .record({
      command: fc.constantFrom(0x20, 0x21, 0x11, 0xff),
      family: fc.nat(255),
      addresses: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    })
    .map((fields) => proxyHeader(V4, fields));
  const garbage = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(header, garbage), (bytes) => {
      const peer = proxiedPeer(bytes);
      if (peer !== undefined && peer !== 'own') assert.notEqual(isIP(peer.address), 0);
    }),
  );
});
