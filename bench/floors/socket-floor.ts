// Forwards between one host and many devices over uWebSockets.js and TLS: each message at once, by its first four
// bytes, and nothing else.
import { SSLApp, us_socket_local_port, type WebSocket } from 'uWebSockets.js';

const [certFile = '', keyFile = ''] = process.argv.slice(2);
const app = SSLApp({ cert_file_name: certFile, key_file_name: keyFile });
const devices: WebSocket<unknown>[] = [];
let host: WebSocket<unknown> | undefined;

const COMMON = { maxPayloadLength: 1 << 21, maxBackpressure: 0, idleTimeout: 0 };

app.ws('/host', {
  ...COMMON,
  upgrade: (res, req, context) => accept(res, req, context),
  open: (socket) => {
    host = socket;
  },
  message: (_socket, message) => {
    devices[new DataView(message).getUint32(0)]?.send(message, true);
  },
});
app.ws('/device', {
  ...COMMON,
  upgrade: (res, req, context) => accept(res, req, context),
  open: (socket) => {
    devices.push(socket);
  },
  message: (_socket, message) => {
    host?.send(message, true);
  },
});

function accept(...[res, req, context]: Parameters<NonNullable<Upgrade>>): void {
  const header = (name: string) => req.getHeader(`sec-websocket-${name}`);
  res.upgrade({}, header('key'), header('protocol'), header('extensions'), context);
}
type Upgrade = Parameters<typeof app.ws>[1]['upgrade'];

app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) throw new Error('cannot listen');
  const port = us_socket_local_port(listening);
  console.log(JSON.stringify({ event: 'ready', socketUrl: `wss://localhost:${port}` }));
});
