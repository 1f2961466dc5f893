import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

const HEADER_BYTES = 12;
/** An authoritative answer without an error. */
const ANSWER_FLAGS = 0x8400;
const TYPE_A = 1;
/** Points to the name in the question. */
const SAME_NAME = 0xc00c;

/** Answers every question for IPv4 addresses with those that it has now. */
export async function dnsServer(t: TestContext, addresses: readonly string[]) {
  const socket = createSocket('udp4');
  const server = { addresses, asked: 0, port: 0 };
  socket.on('message', (query, { port, address }) => {
    // Whatever follows the question is an extension.
    const typeAt = query.indexOf(0, HEADER_BYTES) + 1;
    const question = query.subarray(HEADER_BYTES, typeAt + 4);
    const found = query.readUInt16BE(typeAt) === TYPE_A ? server.addresses : [];
    server.asked += 1;
    const header = Buffer.alloc(HEADER_BYTES);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(ANSWER_FLAGS, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(found.length, 6);
    socket.send(Buffer.concat([header, question, ...found.map(addressRecord)]), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  server.port = (socket.address() as AddressInfo).port;
  return server;
}

function addressRecord(address: string): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(SAME_NAME, 0);
  head.writeUInt16BE(TYPE_A, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(4, 10);
  return Buffer.concat([head, Buffer.from(address.split('.').map(Number))]);
}
