import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { FaultyPipe } from './faulty-pipe.ts';

interface Options {
  readonly target: { readonly host?: string; readonly port: number };
}

export interface FaultProxy {
  readonly host: string;
  readonly port: number;
  /** Open connections. */
  readonly connections: number;
  /** Resets every open connection; new ones are served. */
  cut(): void;
  /** Holds every byte in both directions, on new connections too; nothing is lost. */
  pause(): void;
  resume(): void;
  /** Delays each chunk by this long; 0 turns the delay off. */
  delay(ms: number): void;
  /** Resets new connections and keeps serving the open ones. */
  refuse(on?: boolean): void;
  close(): Promise<void>;
}

/** A TCP proxy on loopback whose network fails on demand. */
export async function faultProxy({ target }: Options): Promise<FaultProxy> {
  const network = new FaultyNetwork();
  const server = createServer({ allowHalfOpen: true }, (client) => network.accept(client, target));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: '127.0.0.1',
    port: portOf(server),
    get connections() {
      return network.pipes.size;
    },
    cut: () => network.cut(),
    pause: () => network.pause(true),
    resume: () => network.pause(false),
    delay: (ms) => network.delay(ms),
    refuse: (on = true) => {
      network.refusing = on;
    },
    close: async () => {
      network.cut();
      server.close();
      await once(server, 'close');
    },
  };
}

class FaultyNetwork {
  readonly pipes = new Set<FaultyPipe>();
  refusing = false;
  #paused = false;
  #delayMs = 0;

  accept(client: Socket, target: Options['target']): void {
    client.on('error', () => {});
    if (this.refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({
      host: target.host ?? '127.0.0.1',
      port: target.port,
      allowHalfOpen: true,
    });
    const pipe = new FaultyPipe(client, upstream);
    pipe.pause(this.#paused);
    pipe.delayMs = this.#delayMs;
    this.pipes.add(pipe);
    pipe.onClosed(() => this.pipes.delete(pipe));
  }

  cut(): void {
    for (const pipe of [...this.pipes]) pipe.cut();
  }

  pause(on: boolean): void {
    this.#paused = on;
    for (const pipe of this.pipes) pipe.pause(on);
  }

  delay(ms: number): void {
    this.#delayMs = ms;
    for (const pipe of this.pipes) pipe.delayMs = ms;
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}
