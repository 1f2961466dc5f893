import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { ZlError } from '@zerolatency/errors';

export interface TextSocket {
  close(): Promise<void>;
}

/** The shortest sun_path of all platforms, without its terminator. */
const MAX_PATH_BYTES = 103;
const READER_TIMEOUT_MS = 5_000;

/** Sends one text to each connection and closes it. Only this user may connect. */
export async function serveText(
  path: string,
  read: () => string | Promise<string>,
): Promise<TextSocket> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const message = `stateDir: ${path} is too long for a socket, which takes ${MAX_PATH_BYTES} bytes`;
    throw new ZlError('config.invalid', message);
  }
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // A reader may leave early.
    socket.on('error', () => socket.destroy());
    socket.setTimeout(READER_TIMEOUT_MS, () => socket.destroy());
    socket.resume();
    // Deferred, so that a report that throws destroys only the socket.
    Promise.resolve()
      .then(read)
      .then(
        (text) => socket.end(text),
        () => socket.destroy(),
      );
  });
  // Left by a bridge that was killed: the journal's lock proves that none is running.
  rmSync(path, { force: true });
  await listen(server, path);
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A reader that keeps writing or waits would keep the server open.
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
