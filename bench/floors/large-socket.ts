// Sends as many bytes as a message asks for, in frames of 64 KiB over a WebSocket on TLS, and nothing else.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { WebSocketServer } from 'ws';

const FRAME = Buffer.alloc(64 * 1024, 'x');

const [certFile = '', keyFile = ''] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
  socket.on('message', (asked) => {
    for (let left = Number(String(asked)); left > 0; left -= FRAME.length) {
      socket.send(FRAME.subarray(0, left));
    }
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  console.log(JSON.stringify({ event: 'ready', url: `wss://localhost:${port}` }));
});
