import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** A frame of HTTP/2, valid or not. */
export function frame(
  type: number,
  {
    flags = 0,
    stream = 0,
    payload = Buffer.alloc(0),
  }: { flags?: number; stream?: number; payload?: Buffer } = {},
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK literals without indexing, so that a header block needs no state. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).flatMap(([name, value]) => [
      Buffer.from([0]),
      hpackText(name),
      hpackText(value),
    ]),
  );
}

function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

/** A client of HTTP/2 that sends the frames it is told, and nothing by itself. */
export class Http2Peer {
  readonly socket: TLSSocket;
  readonly received: { type: number; flags: number; stream: number; payload: Buffer }[] = [];
  bytesRead = 0;
  readonly #counts = new Map<number, number>();
  #rest = Buffer.alloc(0);

  private constructor(socket: TLSSocket) {
    this.socket = socket;
  }

  static async open(
    { port, ca }: { port: number; ca: string },
    settings = Buffer.alloc(0),
  ): Promise<Http2Peer> {
    const socket = connect({
      host: '127.0.0.1',
      servername: 'localhost',
      port,
      ca,
      ALPNProtocols: ['h2'],
    });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    const peer = new Http2Peer(socket);
    socket.on('data', (chunk) => peer.#read(chunk));
    socket.write(PREFACE);
    socket.write(frame(FRAME.settings, { payload: settings }));
    return peer;
  }

  count(type: number): number {
    return this.#counts.get(type) ?? 0;
  }

  get isOpen(): boolean {
    return !this.socket.destroyed && this.socket.writable;
  }

  /** Writes as fast as the server takes it, until the time is over or the connection. */
  async flood(bytes: Buffer, forMs: number): Promise<number> {
    const endMs = performance.now() + forMs;
    let sent = 0;
    while (this.isOpen && performance.now() < endMs) {
      sent += 1;
      await new Promise((resolve) => this.socket.write(bytes, resolve));
      await new Promise(setImmediate);
    }
    return sent;
  }

  close(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.bytesRead += chunk.length;
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const type = this.#rest[3]!;
      this.#counts.set(type, this.count(type) + 1);
      if (this.received.length > 10000) this.received.length = 0;
      this.received.push({
        type,
        flags: this.#rest[4]!,
        stream: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(9, 9 + length),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
  }
}
