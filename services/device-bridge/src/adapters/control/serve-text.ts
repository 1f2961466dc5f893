import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { ZlError } from '@zerolatency/errors';

export interface TextSocket {
  close(): Promise<void>;
}

/** What sun_path holds on the platforms with the shortest one, without its end mark. */
const maxPathBytes = 103;
const readerTimeoutMs = 5_000;

/** Tells whoever connects one text and hangs up. Only this user may connect. */
export async function serveText(
  path: string,
  tell: () => string | Promise<string>,
): Promise<TextSocket> {
  if (Buffer.byteLength(path) > maxPathBytes) {
    const message = `stateDir: ${path} is too long for a socket, which takes ${maxPathBytes} bytes`;
    throw new ZlError('config.invalid', message);
  }
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // A reader that leaves early is none of our business.
    socket.on('error', () => socket.destroy());
    socket.setTimeout(readerTimeoutMs, () => socket.destroy());
    socket.resume();
    Promise.resolve(tell()).then(
      (text) => socket.end(text),
      () => socket.destroy(),
    );
  });
  // Left by a bridge that was killed; the journal's lock says that it is gone.
  rmSync(path, { force: true });
  await listen(server, path);
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A reader that talks or dawdles would keep the server open.
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
