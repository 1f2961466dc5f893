// Holds connections over TLS, and answers the first byte of each with one of its own: what any Node program
// pays for an idle connection and for accepting one.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';

const [certFile = '', keyFile = ''] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
server.on('secureConnection', (socket) => {
  socket.once('data', () => socket.write('.')).on('error', () => socket.destroy());
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  console.log(JSON.stringify({ event: 'ready', port: `${port}` }));
});
