import { type EventEmitter, once } from 'node:events';
import { copyFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { eventually, makeAuthority, tempDir } from '@zerolatency/testing';
import { WebSocket } from 'ws';
import { ListedBalancers } from '../src/adapters/listed-balancers/listed-balancers.ts';
import { loadNative, openUwsEngine } from '../src/adapters/uws/engine.ts';
import { openWsEngine } from '../src/adapters/ws/engine.ts';
import type {
  Admission,
  Arrival,
  Balancers,
  OpenSocketEngine,
  Socket,
  SocketEndReason,
  SocketListener,
  Transport,
  UpgradeRequest,
} from '../src/sockets/socket-engine.ts';
import { StreamClient } from './stream-client.ts';

export const MAX_MESSAGE_BYTES = 64 * 1024;
export const MAX_CONNECTIONS = 40;

/** Records what it hears. */
export class Recorder implements SocketListener {
  readonly messages: Buffer[] = [];
  readonly ends: SocketEndReason[] = [];
  socket: Socket | undefined;
  readBytes = 0;
  readonly controls: string[] = [];
  abandoned = 0;
  onReadDo: (socket: Socket) => void = () => {};
  onControlDo: (socket: Socket) => void = () => {};
  onMessageDo: (bytes: Buffer, socket: Socket) => void = () => {};

  onOpen(socket: Socket): void {
    this.socket = socket;
  }

  onMessage(bytes: Buffer): void {
    this.messages.push(Buffer.from(bytes));
    this.onMessageDo(bytes, this.socket!);
  }

  onRead(bytes: number): void {
    this.readBytes += bytes;
    this.onReadDo(this.socket!);
  }

  onControl(kind: 'ping' | 'pong'): void {
    this.controls.push(kind);
    this.onControlDo(this.socket!);
  }

  onEnd(end: SocketEndReason): void {
    this.ends.push(end);
  }

  onAbandoned(): void {
    this.abandoned += 1;
  }
}

class RecordedArrival implements Arrival {
  readonly address: string;
  readonly cut: () => void;
  endSocket = () => false;
  readonly names: (string | undefined)[] = [];
  isProved = false;
  timesGone = 0;

  constructor(address: string, cut: () => void) {
    this.address = address;
    this.cut = cut;
  }

  proved(): void {
    this.isProved = true;
  }

  named(address: string | undefined): boolean {
    this.names.push(address);
    return address !== undefined;
  }

  gone(): void {
    this.timesGone += 1;
  }
}

/** What tests do with either transport. */
export interface SocketClient extends EventEmitter {
  send(bytes: Buffer): void;
  close(code: number): void;
  terminate(): void;
  pause(): void;
  resume(): void;
}

interface Met {
  readonly client: SocketClient;
  readonly recorder: Recorder;
}

type Admit = (request: UpgradeRequest, recorder: Recorder) => Admission;

type BalancerSettings = ConstructorParameters<typeof ListedBalancers>[0];

export const NO_BALANCERS = new ListedBalancers({
  ...{ engine: 'auto', proxyProtocol: 'none', trustedProxies: [] },
});

/** Every connection of a test comes from here. */
export function localBalancers(proxyProtocol: BalancerSettings['proxyProtocol']): Balancers {
  return new ListedBalancers({ engine: 'auto', proxyProtocol, trustedProxies: ['127.0.0.0/8'] });
}

export async function engineWorld(
  t: TestContext,
  open: OpenSocketEngine,
  balancers: Balancers = NO_BALANCERS,
  transport: Transport = 'websocket',
) {
  const dir = tempDir(t);
  const authority = await makeAuthority(dir);
  const files = await authority.server();
  let material = { cert: files.cert, key: files.key, ca: files.ca };
  const recorders: Recorder[] = [];
  const requests: UpgradeRequest[] = [];
  const failures: unknown[] = [];
  const arrivals: RecordedArrival[] = [];
  const accepting: boolean[] = [];
  const streamRequests: string[] = [];
  const settings: { admit: Admit; refusesArrivals: boolean } = {
    admit: (_request, recorder) => ({ listener: recorder }),
    refusesArrivals: false,
  };
  const engine = await open({
    host: '127.0.0.1',
    port: 0,
    tls: { certFile: files.certFile, keyFile: files.keyFile, current: () => material },
    maxMessageBytes: MAX_MESSAGE_BYTES,
    balancers,
    idleTimeoutMs: 60_000,
    onFailure: (error) => failures.push(error),
    onAccepting: (isAccepting) => accepting.push(isAccepting),
    onStreamRequest: (errorId) => streamRequests.push(errorId),
    maxConnections: MAX_CONNECTIONS,
    arrive: (address, cut) => {
      const arrival = new RecordedArrival(address, cut);
      arrivals.push(arrival);
      return settings.refusesArrivals ? undefined : arrival;
    },
    admit: (request) => {
      requests.push(request);
      const recorder = new Recorder();
      recorders.push(recorder);
      return settings.admit(request, recorder);
    },
  });
  t.after(() => engine.close());
  const dial = (path = '/v1/device', headers: Record<string, string | string[]> = {}) => {
    const url = `wss://localhost:${engine.port}${path}`;
    const client = new WebSocket(url, { ca: authority.ca, headers });
    t.after(() => client.terminate());
    client.on('error', () => {});
    return client;
  };
  const dialStream = (path = '/v1/device', headers: Record<string, string | string[]> = {}) => {
    const url = `https://localhost:${engine.port}${path}`;
    const client = new StreamClient(url, { ca: authority.ca, headers });
    t.after(() => client.terminate());
    return client;
  };
  const connected = async <C extends EventEmitter>(client: C) => {
    const index = recorders.length;
    await once(client, 'open');
    return { client, recorder: await eventually(() => recorders[index]) };
  };
  const connect = (path?: string) => connected(dial(path));
  const connectStream = () => connected(dialStream());
  /** Over the transport of the suite. */
  const reach = (path?: string): SocketClient =>
    transport === 'websocket' ? dial(path) : dialStream();
  const meet = (path?: string): Promise<Met> => connected(reach(path));
  const renew = async () => {
    const next = await authority.server();
    copyFileSync(next.certFile, files.certFile);
    copyFileSync(next.keyFile, files.keyFile);
    material = { cert: next.cert, key: next.key, ca: next.ca };
    engine.reloadTls();
    return next;
  };
  return {
    engine,
    dial,
    connect,
    dialStream,
    connectStream,
    reach,
    meet,
    streamRequests,
    recorders,
    arrivals,
    accepting,
    requests,
    failures,
    settings,
    renew,
    files,
    authority,
  };
}

/** Every engine that this platform has. */
export const ENGINES: [string, OpenSocketEngine][] = [['ws', openWsEngine]];
if ((await loadNative()) !== undefined) ENGINES.unshift(['uws', openUwsEngine]);

/** Every implementation of a socket. The engine uws has no HTTP streams (ADR 19). */
export const SOCKETS: [string, OpenSocketEngine, Transport][] = [
  ...ENGINES.map(([name, open]): [string, OpenSocketEngine, Transport] => [
    name,
    open,
    'websocket',
  ]),
  ['http stream', openWsEngine, 'http_stream'],
];
