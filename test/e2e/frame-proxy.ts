import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { decodeFrame } from '@zerolatency/frame';
import { type WebSocket as Socket, WebSocket, WebSocketServer } from 'ws';
import type { Layout } from '../../services/cli/src/installation/layout.ts';

interface Route {
  readonly device: Socket;
  readonly relay: Socket;
}

/** Stands between a bridge and its relay, and can change and add frames. */
export interface FrameProxy {
  readonly url: string;
  /** Applied to every frame, both ways. */
  rewrite: (bytes: Buffer) => Uint8Array;
  /** Connections of the bridge so far. */
  readonly accepted: number;
  /** Sends a message to both the relay and the bridge, as if from the other. */
  whisper(message: Uint8Array): void;
  /** Sends a message to the relay as the device; resolves with the relay's close code. */
  inject(message: Uint8Array | string): Promise<{ code: number; reason: string }>;
  close(): Promise<void>;
}

export async function frameProxy(layout: Layout, target: string): Promise<FrameProxy> {
  const files = layout.tls('tool-relay');
  const [cert, key, ca] = await Promise.all(
    [files.cert, files.key, layout.authority.cert].map((file) => readFile(file)),
  );
  const server = createServer({ cert, key });
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  const routes = new Set<Route>();
  let accepted = 0;
  const proxy: FrameProxy = {
    get accepted() {
      return accepted;
    },
    whisper(message) {
      for (const { device, relay } of routes) {
        device.send(message);
        relay.send(message);
      }
    },
    get url() {
      return `wss://localhost:${(server.address() as AddressInfo).port}/v1/device`;
    },
    rewrite: (bytes) => bytes,
    async inject(message) {
      const [route] = routes;
      if (route === undefined) throw new Error('no device is connected');
      route.relay.send(message);
      const [code, reason] = await once(route.relay, 'close');
      return { code, reason: String(reason) };
    },
    async close() {
      for (const socket of sockets.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  sockets.on('connection', (device) => {
    accepted += 1;
    const relay = new WebSocket(target, { ca, perMessageDeflate: false });
    const route = { device, relay };
    relay.once('open', () => routes.add(route));
    relay.once('close', () => routes.delete(route));
    pass(relay, device, proxy);
    // A device sends nothing before the challenge, which arrives on an open socket.
    pass(device, relay, proxy);
    relay.on('ping', () => device.ping());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return proxy;
}

function pass(from: Socket, to: Socket, proxy: FrameProxy): void {
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
