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

interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A client of HTTP/2 that sends the frames it is told, and nothing by itself. */
export class Http2Peer {
  readonly socket: TLSSocket;
  /** Resolves when the server has closed the connection. */
  readonly closed: Promise<void>;
  readonly #counts = new Map<number, number>();
  #goaway: number | undefined;
  #rest = Buffer.alloc(0);
  #onFrame: () => void = () => {};

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk) => this.#read(chunk));
  }

  static async open(
    { port, ca }: { readonly port: number; readonly ca: string },
    settings = Buffer.alloc(0),
  ): Promise<Http2Peer> {
    const options = { host: '127.0.0.1', servername: 'localhost', port, ca };
    const socket = connect({ ...options, ALPNProtocols: ['h2'] });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    const peer = new Http2Peer(socket);
    socket.write(PREFACE);
    socket.write(frame(FRAME.settings, { payload: settings }));
    return peer;
  }

  get isOpen(): boolean {
    return !this.socket.destroyed && this.socket.writable;
  }

  /** The code of the first GOAWAY. */
  get goaway(): number | undefined {
    return this.#goaway;
  }

  /** Frames received of a type. */
  count(type: number): number {
    return this.#counts.get(type) ?? 0;
  }

  /** Resolves once it holds after a frame was received. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#onFrame = resolve;
      });
    }
  }

  close(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (let next = this.#take(); next !== undefined; next = this.#take()) {
      this.#counts.set(next.type, this.count(next.type) + 1);
      if (next.type === FRAME.goaway) this.#goaway ??= next.payload.readUInt32BE(4);
    }
    this.#onFrame();
  }

  #take(): Frame | undefined {
    const rest = this.#rest;
    if (rest.length < 9) return undefined;
    const end = 9 + rest.readUIntBE(0, 3);
    if (rest.length < end) return undefined;
    this.#rest = rest.subarray(end);
    return {
      type: rest.readUInt8(3),
      stream: rest.readUInt32BE(5),
      payload: rest.subarray(9, end),
    };
  }
}
