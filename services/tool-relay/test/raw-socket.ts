import { type EventEmitter, once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface Target {
  readonly port: number;
  readonly ca: string;
}

/** A masked WebSocket frame header with a mask of zeros, so that payloads are sent as they are. */
export function frameHeader(opcode: number, { bytes = 0, fin = true, masked = true } = {}): Buffer {
  const first = (fin ? 0x80 : 0) | opcode;
  const mask = masked ? 0x80 : 0;
  const size = Buffer.alloc(bytes < 126 ? 2 : bytes < 65_536 ? 4 : 10);
  size[0] = first;
  if (bytes < 126) size[1] = mask | bytes;
  else if (bytes < 65_536) {
    size[1] = mask | 126;
    size.writeUInt16BE(bytes, 2);
  } else {
    size[1] = mask | 127;
    size.writeBigUInt64BE(BigInt(bytes), 2);
  }
  return masked ? Buffer.concat([size, Buffer.alloc(4)]) : size;
}

export const CONTINUATION = 0;
export const BINARY = 2;
export const PING = 9;
export const PONG = 10;

/** A TCP connection that never starts TLS. */
export function openTcp({ port }: Target): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1' });
  socket.on('error', () => {});
  return socket.resume();
}

/** A TLS connection that has sent nothing. */
export async function openTls({ port, ca }: Target): Promise<Socket> {
  const socket = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca });
  socket.on('error', () => {});
  await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]);
  return socket.resume();
}

export const UPGRADE = [
  'GET /v1/device HTTP/1.1',
  'Host: localhost',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  '',
  '',
].join('\r\n');

/** A WebSocket that has not answered its challenge. */
export async function openUnproved(target: Target): Promise<Socket> {
  const socket = await openTls(target);
  if (socket.destroyed) return socket;
  socket.write(UPGRADE);
  await Promise.race([once(socket, 'data'), once(socket, 'close')]);
  return socket;
}

/** Resolves when the socket is closed, by whatever error. */
export function closeOf(socket: EventEmitter): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** Writes the bytes again and again, as fast as the peer reads, until either end closes. */
export function flood(socket: Socket, unit: Buffer, unitsPerWrite = 10_000): void {
  const bytes = Buffer.concat(Array.from({ length: unitsPerWrite }, () => unit));
  const write = () => {
    if (!socket.writable) return;
    if (socket.write(bytes)) setImmediate(write);
    else socket.once('drain', () => setImmediate(write));
  };
  write();
}
