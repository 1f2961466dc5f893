import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { decodeFrame } from '@zerolatency/frame';
import type { TlsMaterial } from '@zerolatency/service/tls';
import { SocketServer } from '@zerolatency/testing';
import { WebSocket } from 'ws';
import type { Layout } from '../../services/cli/src/installation/layout.ts';

interface Route {
  readonly device: WebSocket;
  readonly relay: WebSocket;
}

/** Stands between a bridge and its relay, and can change and add frames. */
export class FrameProxy extends SocketServer {
  /** Applied to every frame, both ways. */
  rewrite = (bytes: Buffer): Uint8Array => bytes;
  readonly #routes = new Set<Route>();
  readonly #target: string;
  readonly #ca: string;

  static async before(target: string, layout: Layout): Promise<FrameProxy> {
    const files = layout.tls('tool-relay');
    const [cert, key, ca] = await Promise.all([
      readFile(files.cert, 'utf8'),
      readFile(files.key, 'utf8'),
      readFile(layout.authority.cert, 'utf8'),
    ]);
    return new FrameProxy(target, { cert, key, ca }).listen();
  }

  private constructor(target: string, tls: TlsMaterial) {
    super(tls);
    this.#target = target;
    this.#ca = tls.ca;
  }

  override get url(): string {
    return `${super.url}/v1/device`;
  }

  /** Sends a message to both the relay and the bridge, as if from the other. */
  whisper(message: Uint8Array): void {
    for (const { device, relay } of this.#routes) {
      device.send(message);
      relay.send(message);
    }
  }

  /** Sends a message to the relay as the device; resolves with the relay's close code. */
  async inject(message: Uint8Array | string): Promise<{ code: number; reason: string }> {
    const [route] = this.#routes;
    if (route === undefined) throw new Error('no device is connected');
    route.relay.send(message);
    const [code, reason] = await once(route.relay, 'close');
    return { code, reason: String(reason) };
  }

  protected accept(device: WebSocket): void {
    const relay = new WebSocket(this.#target, { ca: this.#ca, perMessageDeflate: false });
    const route = { device, relay };
    relay.once('open', () => this.#routes.add(route));
    relay.once('close', () => this.#routes.delete(route));
    pass(relay, device, this);
    // A device sends nothing before the challenge, which arrives on an open socket.
    pass(device, relay, this);
    relay.on('ping', () => device.ping());
  }
}

function pass(from: WebSocket, to: WebSocket, proxy: FrameProxy): void {
  from.on('error', () => {});
  from.on('message', (data) => to.send(proxy.rewrite(data as Buffer)));
  from.on('close', (code, reason) => {
    // 1005 and 1006 stand for a missing code and cannot be sent.
    const isSent = code >= 1000 && code !== 1005 && code !== 1006;
    if (isSent && to.readyState === to.OPEN) to.close(code, reason);
    else to.terminate();
  });
}

/** The same message as another encoder may write it: reordered, with a longer length and an unknown field. */
export function otherEncoding(bytes: Uint8Array): Uint8Array {
  const { frame, error } = decodeFrame(bytes);
  if (error !== undefined) throw error;
  const { kind, flags, device, callId, offset, epoch, payload } = frame;
  const fixed32 = (tag: number, value: number) => {
    const field = Buffer.from([tag, 0, 0, 0, 0]);
    field.writeUInt32LE(value, 1);
    return field;
  };
  const fixed64 = (tag: number, value: number) => {
    const field = Buffer.from([tag, 0, 0, 0, 0, 0, 0, 0, 0]);
    field.writeBigUInt64LE(BigInt(value), 1);
    return field;
  };
  const { length } = payload;
  // A varint of five bytes for any number.
  const long = [0, 7, 14, 21].map((shift) => ((length >>> shift) & 0x7f) | 0x80);
  return Buffer.concat([
    ...[Buffer.from([0x78, 0x07]), Buffer.from([0x3a, ...long, 0]), payload],
    ...[fixed64(0x31, epoch), fixed64(0x29, offset), Buffer.from([0x22, callId.length]), callId],
    ...[fixed32(0x1d, device), fixed32(0x15, flags), fixed32(0x0d, kind)],
  ]);
}
