import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { decodeFrame, type Frame } from '@zerolatency/frame';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import type { Layout } from '../../services/cli/src/installation/layout.ts';

export type Hop = 'link' | 'device';
/** On a link the host dials and the relay accepts, on the other hop the bridge and the relay. */
export type Side = 'dialler' | 'relay';

export interface Passing {
  readonly hop: Hop;
  readonly from: Side;
  /** The index of the relay in its pool. */
  readonly pod: number;
  readonly frame: Frame;
  /** Passes the frame on; resolves once the kernel of the receiver has it. */
  deliver(): Promise<void>;
}

/** Whoever returns a promise has to deliver the frame, or it is lost; later frames wait for the promise. */
export type Trap = (passing: Passing) => Promise<void> | undefined;

export interface TapOptions {
  readonly hop: Hop;
  readonly pod: number;
  /** The port of the relay. */
  readonly target: number;
  readonly trap: Trap;
}

/** More turns of the event loop than a proxy of this process takes to pass bytes on. */
const TURNS_TO_PASS = 10;

/**
 * Stands between a relay and its peers, reads every frame, and lets a trap decide when it passes.
 * Pings and pongs pass unanswered, so that a stopped process seems silent.
 */
export class FrameTap {
  readonly #options: TapOptions;
  readonly #tls: { readonly cert: string; readonly key: string; readonly ca: string };
  readonly #server: Server;
  readonly #acceptor = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    autoPong: false,
  });
  readonly #diallers = new Set<WebSocket>();
  readonly #relays = new Set<WebSocket>();

  static async listen(layout: Layout, options: TapOptions): Promise<FrameTap> {
    const files = layout.tls('tool-relay');
    const [cert, key, ca] = await Promise.all([
      readFile(files.cert, 'utf8'),
      readFile(files.key, 'utf8'),
      readFile(layout.authority.cert, 'utf8'),
    ]);
    const tap = new FrameTap({ cert, key, ca }, options);
    await new Promise<void>((resolve) => tap.#server.listen(0, '127.0.0.1', resolve));
    return tap;
  }

  private constructor(tls: { cert: string; key: string; ca: string }, options: TapOptions) {
    this.#options = options;
    this.#tls = tls;
    this.#server = createServer(tls, (_, response) => response.writeHead(404).end());
    this.#server.on('upgrade', (request, socket, head) => this.#dial(request, socket, head));
    this.#server.on('tlsClientError', () => {});
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Sends a message to the peer that dialled the relay, as if from the relay. */
  replay(message: Uint8Array): number {
    for (const socket of this.#diallers) socket.send(message, () => {});
    return this.#diallers.size;
  }

  async close(): Promise<void> {
    for (const socket of [...this.#acceptor.clients, ...this.#relays]) socket.terminate();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The relay is dialled first, so that what it refuses is refused here. */
  #dial(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { authorization } = request.headers;
    const relay = new WebSocket(`wss://localhost:${this.#options.target}${request.url}`, {
      ca: this.#tls.ca,
      perMessageDeflate: false,
      autoPong: false,
      ...(authorization !== undefined && { headers: { authorization } }),
    });
    this.#relays.add(relay);
    relay.once('close', () => this.#relays.delete(relay));
    relay.on('error', () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => relay.terminate());
    relay.once('unexpected-response', (_, response) => {
      socket.end(`HTTP/1.1 ${response.statusCode} refused\r\n\r\n`);
      relay.terminate();
    });
    // The relay's challenge may arrive before the other end is accepted.
    const early: RawData[] = [];
    const keep = (data: RawData) => void early.push(data);
    relay.on('message', keep);
    relay.once('open', () => {
      this.#acceptor.handleUpgrade(request, socket, head, (dialler) => {
        relay.off('message', keep);
        this.#diallers.add(dialler);
        dialler.once('close', () => this.#diallers.delete(dialler));
        this.#connect('relay', relay, dialler, early);
        this.#connect('dialler', dialler, relay, []);
      });
    });
  }

  #connect(side: Side, from: WebSocket, to: WebSocket, early: readonly RawData[]): void {
    let holding: Promise<void> | undefined;
    const pass = (data: RawData) => {
      const go = () => this.#pass(side, data, to);
      const held = holding === undefined ? go() : holding.then(go);
      if (held === undefined) return;
      const last = held.finally(() => {
        if (holding === last) holding = undefined;
      });
      holding = last;
    };
    for (const data of early) pass(data);
    from.on('message', pass);
    from.on('error', () => {});
    from.on('ping', (data) => to.ping(data, undefined, () => {}));
    from.on('pong', (data) => to.pong(data, undefined, () => {}));
    from.on('close', (code, reason) => {
      // 1005 and 1006 stand for a missing code and cannot be sent.
      const isSent = code >= 1000 && code !== 1005 && code !== 1006;
      if (isSent && to.readyState === to.OPEN) to.close(code, reason);
      else to.terminate();
    });
  }

  #pass(from: Side, data: RawData, to: WebSocket): Promise<void> | undefined {
    const { hop, pod, trap } = this.#options;
    // A copy, because the socket may reuse its buffer.
    const { frame } = decodeFrame(Uint8Array.from(data as Buffer));
    const deliver = async () => {
      await new Promise((resolve) => to.send(data as Buffer, resolve));
      for (let nth = 0; nth < TURNS_TO_PASS; nth++) await turn();
    };
    const held = frame === undefined ? undefined : trap({ hop, from, pod, frame, deliver });
    if (held === undefined) to.send(data as Buffer, () => {});
    return held;
  }
}
