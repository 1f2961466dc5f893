import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { CLEAR, type Direction, FaultyPipe, type Weather } from './faulty-pipe.ts';

interface Target {
  readonly host?: string;
  readonly port: number;
}

interface Options {
  readonly target: Target;
  /** For the jitter. */
  readonly random?: () => number;
}

export interface FaultProxy {
  readonly host: string;
  readonly port: number;
  /** Open connections. */
  readonly connections: number;
  /** Resets every open connection; new ones are served. */
  cut(): void;
  /** Holds every byte, on new connections too, in both directions unless one is given; nothing is lost. */
  pause(direction?: Direction): void;
  resume(): void;
  /** Leaves open connections half-open: nothing arrives on them any more. New ones are served. */
  vanish(): void;
  /** Delays each chunk by this long; 0 turns the delay off. */
  delay(ms: number): void;
  /** What is not given is clear; both directions unless one is given. */
  weather(weather: Partial<Weather>, direction?: Direction): void;
  /** Resets new connections and keeps serving the open ones. */
  refuse(on?: boolean): void;
  /** Sends new connections elsewhere. */
  retarget(target: Target): void;
  close(): Promise<void>;
}

/** A TCP proxy on loopback whose network fails on demand. */
export async function faultProxy({ target, random = Math.random }: Options): Promise<FaultProxy> {
  const network = new FaultyNetwork(target, random);
  const server = createServer({ allowHalfOpen: true }, (client) => network.accept(client));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: '127.0.0.1',
    port: portOf(server),
    get connections() {
      return network.pipes.size;
    },
    cut: () => network.cut(),
    pause: (direction) => network.hold(true, direction),
    resume: () => network.hold(false),
    vanish: () => network.vanish(),
    delay: (latencyMs) => network.setWeather({ ...CLEAR, latencyMs }),
    weather: (weather, direction) => network.setWeather({ ...CLEAR, ...weather }, direction),
    refuse: (on = true) => {
      network.refusing = on;
    },
    retarget: (next) => {
      network.target = next;
    },
    close: async () => {
      network.cut();
      server.close();
      await once(server, 'close');
    },
  };
}

const BOTH: readonly Direction[] = ['up', 'down'];

class FaultyNetwork {
  readonly pipes = new Set<FaultyPipe>();
  refusing = false;
  target: Target;
  readonly #random: () => number;
  readonly #isHeld = { up: false, down: false };
  readonly #weather = { up: CLEAR, down: CLEAR };

  constructor(target: Target, random: () => number) {
    this.target = target;
    this.#random = random;
  }

  accept(client: Socket): void {
    client.on('error', () => {});
    if (this.refusing) {
      client.resetAndDestroy();
      return;
    }
    const { host = '127.0.0.1', port } = this.target;
    const upstream = connect({ host, port, allowHalfOpen: true });
    const pipe = new FaultyPipe(client, upstream, this.#random);
    for (const direction of BOTH) {
      pipe.hold(direction, this.#isHeld[direction]);
      pipe.weather(direction, this.#weather[direction]);
    }
    this.pipes.add(pipe);
    pipe.onClosed(() => this.pipes.delete(pipe));
  }

  cut(): void {
    for (const pipe of [...this.pipes]) pipe.cut();
  }

  vanish(): void {
    for (const pipe of this.pipes) pipe.vanish();
  }

  hold(on: boolean, only?: Direction): void {
    for (const direction of only === undefined ? BOTH : [only]) {
      this.#isHeld[direction] = on;
      for (const pipe of this.pipes) pipe.hold(direction, on);
    }
  }

  setWeather(weather: Weather, only?: Direction): void {
    for (const direction of only === undefined ? BOTH : [only]) {
      this.#weather[direction] = weather;
      for (const pipe of this.pipes) pipe.weather(direction, weather);
    }
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}
