import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { serverTlsOptions, type TlsMaterial } from '@zerolatency/service/tls';
import { type WebSocket, WebSocketServer } from 'ws';

/** Why an upgrade is refused, as the peer reads it. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** A WebSocket server over TLS on a free loopback port, the base of the fake relays. */
export abstract class SocketServer {
  /** Connections ever accepted. */
  accepted = 0;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

  constructor(tls: TlsMaterial) {
    this.#server = createServer(serverTlsOptions(tls, { requireClient: false }));
    this.#server.on('upgrade', (request, socket, head) => {
      const refusal = this.refusalOf(request);
      if (refusal === undefined) {
        this.#sockets.handleUpgrade(request, socket, head, (peer) => {
          this.accepted += 1;
          this.accept(peer);
        });
      } else socket.end(`HTTP/1.1 ${refusal.status}\r\n\r\n${refusal.reason}`);
    });
  }

  get url(): string {
    return `wss://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  /** Drops every connection; new ones are served. */
  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Sends a message as it is to every peer. */
  broadcast(message: string | Uint8Array): void {
    for (const socket of this.#sockets.clients) socket.send(message);
  }

  protected abstract accept(socket: WebSocket): void;

  protected refusalOf(_request: IncomingMessage): Refusal | undefined {
    return undefined;
  }
}
