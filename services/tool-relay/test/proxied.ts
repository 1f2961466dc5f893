import { connect as connectTcp, isIPv6, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import type { Target } from './raw-socket.ts';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

export interface ProxyHeaderFields {
  readonly command?: number;
  readonly family?: number;
  readonly addresses?: Buffer;
  /** Type, length and value of what follows the addresses. */
  readonly extensions?: Buffer;
}

/** A header of version 2, as haproxy writes it. */
export function proxyHeader(source: string, fields: ProxyHeaderFields = {}): Buffer {
  const isV6 = isIPv6(source);
  const { command = 0x21, family = isV6 ? 0x21 : 0x11, extensions = Buffer.alloc(0) } = fields;
  const ports = Buffer.from([0x30, 0x39, 0x20, 0xfb]);
  const ownV6 = Buffer.concat([Buffer.alloc(15), Buffer.from([1])]);
  const own = isV6 ? ownV6 : Buffer.from([192, 0, 2, 254]);
  const addresses = fields.addresses ?? Buffer.concat([bytesOf(source), own, ports]);
  const head = Buffer.from([command, family, 0, 0]);
  head.writeUInt16BE(addresses.length + extensions.length, 2);
  return Buffer.concat([SIGNATURE, head, addresses, extensions]);
}

/** Only the full form of IPv6. */
function bytesOf(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const groups = address.split(':').map((group) => group.padStart(4, '0'));
  return Buffer.from(groups.join(''), 'hex');
}

/** A TCP connection of a balancer that has sent these bytes. */
export function openProxied({ port }: Target, header: Buffer, localAddress = '127.0.0.1'): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  if (header.length > 0) socket.write(header);
  return socket;
}

/** A WebSocket that begins on a connection of a balancer. */
export function dialOver(connection: Socket, { port, ca }: Target): WebSocket {
  const client = new WebSocket(`wss://localhost:${port}/v1/device`, {
    ca,
    createConnection: () => connectTls({ socket: connection, servername: 'localhost', ca }),
  });
  return client.on('error', () => {});
}
