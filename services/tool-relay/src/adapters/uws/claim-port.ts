import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * The port itself, or one that is free for 0. Rejects when somebody listens on
 * it already, which uWebSockets.js, sharing its port for reloading, would not notice.
 */
export async function claimPort(host: string, port: number): Promise<number> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : port;
}
