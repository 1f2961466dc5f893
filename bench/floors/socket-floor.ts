// Forwards between one host and many devices over uWebSockets.js and TLS: by the first four bytes, and nothing else.
// Like the relay it sends what it has read after it has read it; "direct" as third argument sends each message at once.
import { SSLApp, us_socket_local_port, type WebSocket } from 'uWebSockets.js';

interface Peer {
  readonly number: number;
  readonly outbox: Uint8Array[];
}

const [certFile = '', keyFile = '', mode = 'batched'] = process.argv.slice(2);
const app = SSLApp({ cert_file_name: certFile, key_file_name: keyFile });
const devices: WebSocket<Peer>[] = [];
const waiting: WebSocket<Peer>[] = [];
let host: WebSocket<Peer> | undefined;

function flush(): void {
  for (const socket of waiting.splice(0)) {
    const { outbox } = socket.getUserData();
    const messages = outbox.splice(0);
    socket.cork(() => {
      for (const message of messages) socket.send(message, true);
    });
  }
}

function forward(to: WebSocket<Peer> | undefined, message: ArrayBuffer): void {
  if (to === undefined) return;
  if (mode === 'direct') {
    to.send(message, true);
    return;
  }
  if (to.getUserData().outbox.push(Buffer.from(Buffer.from(message))) > 1) return;
  if (waiting.push(to) === 1) setImmediate(flush);
}

const COMMON = { maxPayloadLength: 1 << 21, maxBackpressure: 0, idleTimeout: 0 };

app.ws<Peer>('/host', {
  ...COMMON,
  upgrade: (res, req, context) => accept(res, req, context),
  open: (socket) => {
    host = socket;
  },
  message: (_socket, message) => forward(devices[new DataView(message).getUint32(0)], message),
});
app.ws<Peer>('/device', {
  ...COMMON,
  upgrade: (res, req, context) => accept(res, req, context),
  open: (socket) => {
    devices.push(socket);
  },
  message: (_socket, message) => forward(host, message),
});

function accept(...[res, req, context]: Parameters<NonNullable<Upgrade>>): void {
  const header = (name: string) => req.getHeader(`sec-websocket-${name}`);
  const peer: Peer = { number: devices.length, outbox: [] };
  res.upgrade(peer, header('key'), header('protocol'), header('extensions'), context);
}
type Upgrade = Parameters<typeof app.ws<Peer>>[1]['upgrade'];

app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('cannot listen');
  const port = us_socket_local_port(listening);
  console.log(JSON.stringify({ event: 'ready', socketUrl: `wss://localhost:${port}` }));
});
