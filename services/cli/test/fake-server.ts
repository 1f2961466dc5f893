import { readFileSync } from 'node:fs';
import { createSecureServer, type Http2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Layout } from '../src/installation/layout.ts';

export interface FakeServer {
  readonly port: number;
  readonly url: string;
  /** Breaks every connection; the next ones are served. */
  cut(): void;
  close(): Promise<void>;
}

/** RPC over TLS with a certificate of the installation, which stands in for a host or a relay. */
export async function serveFake(
  t: TestContext,
  layout: Layout,
  options: {
    readonly name: 'model-host' | 'tool-relay' | 'registrar';
    readonly port?: number;
    readonly routes: (router: ConnectRouter) => void;
  },
): Promise<FakeServer> {
  const files = layout.tls(options.name);
  const server = createSecureServer(
    {
      cert: readFileSync(files.cert),
      key: readFileSync(files.key),
      ca: readFileSync(layout.authority.cert),
      requestCert: options.name !== 'model-host',
    },
    connectNodeAdapter({ routes: options.routes }),
  );
  const sessions = new Set<Http2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, 'localhost', resolve));
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const session of sessions) session.destroy();
  };
  const close = async () => {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    cut();
    await closed;
  };
  t.after(close);
  return { port, url: `https://localhost:${port}`, cut, close };
}
