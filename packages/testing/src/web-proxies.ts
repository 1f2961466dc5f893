import { once } from 'node:events';
import { createServer as createHttp, type IncomingMessage } from 'node:http';
import { createServer as createHttps, request } from 'node:https';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';

interface Material {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface InspectingProxy {
  readonly port: number;
  /** WebSockets pass, or lose their upgrade. */
  blocks: boolean;
  /** Requests that passed, by path. */
  readonly passed: Map<string, number>;
  close(): Promise<void>;
}

/** Ends TLS with a certificate that devices trust, and passes plain requests on. */
export async function inspectingProxy(port: number, tls: Material): Promise<InspectingProxy> {
  const passed = new Map<string, number>();
  const count = ({ url = '' }: IncomingMessage) => passed.set(url, (passed.get(url) ?? 0) + 1);
  const server = createHttps({ cert: tls.cert, key: tls.key });
  const forward = (incoming: IncomingMessage, answer: (from: IncomingMessage) => void) => {
    count(incoming);
    const { upgrade: _upgrade, connection: _connection, ...headers } = incoming.headers;
    const { url: path, method } = incoming;
    const options = { host: 'localhost', port, ca: tls.ca, path, method, headers };
    const outgoing = request({ ...options, agent: false });
    outgoing.on('response', answer).on('error', () => incoming.destroy());
    incoming.on('close', () => incoming.complete || outgoing.destroy());
    incoming.pipe(outgoing);
    return outgoing;
  };
  server.on('request', (incoming, response) => {
    const outgoing = forward(incoming, (from) => {
      response.writeHead(from.statusCode ?? 502, { ...from.headers, connection: 'keep-alive' });
      response.flushHeaders();
      from.on('error', () => response.destroy());
      from.pipe(response);
    });
    response.on('close', () => outgoing.destroy());
  });
  const proxy = { port: 0, blocks: true, passed, close: () => closeServer(server, sockets) };
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {});
    if (!proxy.blocks) {
      count(incoming);
      const target = connectTls({ host: 'localhost', port, ca: tls.ca });
      target.write(`${headOf(incoming)}\r\n\r\n`);
      target.write(head);
      join(socket, target);
      return;
    }
    forward(incoming, (from) => {
      from.resume();
      socket.end(`HTTP/1.1 ${from.statusCode} Refused\r\ncontent-length: 0\r\n\r\n`);
    });
  });
  const sockets = socketsOf(server);
  proxy.port = await listening(server);
  return proxy;
}

export interface ConnectProxy {
  readonly url: string;
  /** Tunnels opened, and attempts refused. */
  readonly counts: { opened: number; refused: number };
  close(): Promise<void>;
}

/** Tunnels to loopback, for those with these credentials. */
export async function connectProxy(credentials: string): Promise<ConnectProxy> {
  const server = createHttp();
  const counts = { opened: 0, refused: 0 };
  const wanted = `Basic ${Buffer.from(credentials).toString('base64')}`;
  server.on('connect', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {});
    if (incoming.headers['proxy-authorization'] !== wanted) {
      counts.refused += 1;
      const why = 'HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n';
      socket.end(`${why}content-length: 0\r\n\r\n`);
      return;
    }
    counts.opened += 1;
    const { hostname, port } = new URL(`tcp://${incoming.url}`);
    const target = connect(Number(port), hostname);
    target.once('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.write(head);
      join(socket, target);
    });
    target.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
  });
  const sockets = socketsOf(server);
  const port = await listening(server);
  const url = `http://127.0.0.1:${port}`;
  return { url, counts, close: () => closeServer(server, sockets) };
}

function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => {});
    from.on('close', () => to.destroy());
    from.pipe(to);
  }
}

function headOf({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  }
  return lines.join('\r\n');
}

function socketsOf(server: Server): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  server.close();
  for (const socket of sockets) socket.destroy();
  await once(server, 'close');
}
