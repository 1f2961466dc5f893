import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** Enough room that listening and pausing do not take turns with every connection. */
const RESUME_SHARE = 0.9;
/** Another program may have taken the port meanwhile. */
const RETRY_MS = 1000;

export interface AcceptorOptions {
  readonly host: string;
  readonly port: number;
  readonly maxConnections: number;
  readonly onConnection: (socket: Socket) => void;
  readonly onAccepting: (isAccepting: boolean) => void;
  readonly onFailure: (error: unknown) => void;
}

/**
 * Accepts TCP connections up to a number, and then closes its port until some have gone. Without a
 * bound the program runs out of file descriptors, and an accept that fails is tried again at once.
 */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #connections = new Set<Socket>();
  #port: number;
  #server: Server | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  /** Rejects when the port is taken. */
  static async open(options: AcceptorOptions): Promise<Acceptor> {
    const acceptor = new Acceptor(options);
    await acceptor.#listen();
    return acceptor;
  }

  get port(): number {
    return this.#port;
  }

  /** Cuts every connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#connections) socket.destroy();
    if (server === undefined) return;
    // Not events.once(), which rejects when the port could not be opened.
    await new Promise((resolve) => server.close(resolve));
  }

  async #listen(): Promise<void> {
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#server = server;
    server.listen(this.#port, this.#options.host);
    await once(server, 'listening');
    server.on('error', this.#options.onFailure);
    const address = server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
  }

  #accept(socket: Socket): void {
    this.#connections.add(socket);
    socket.once('close', () => this.#forget(socket));
    if (this.#connections.size >= this.#options.maxConnections) this.#pause();
    this.#options.onConnection(socket);
  }

  #forget(socket: Socket): void {
    this.#connections.delete(socket);
    const isPaused = this.#server === undefined && !this.#isClosed;
    const hasRoom = this.#connections.size <= this.#options.maxConnections * RESUME_SHARE;
    if (isPaused && hasRoom) this.#resume();
  }

  #pause(): void {
    if (this.#server === undefined) return;
    this.#server.close();
    this.#server = undefined;
    this.#options.onAccepting(false);
  }

  #resume(): void {
    this.#listen().then(
      () => this.#options.onAccepting(true),
      (error) => {
        if (this.#isClosed) return;
        this.#server = undefined;
        this.#options.onFailure(error);
        this.#retryTimer = setTimeout(() => this.#resume(), RETRY_MS);
      },
    );
  }
}
