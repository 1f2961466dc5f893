import { once } from 'node:events';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Health } from '@zerolatency/proto/health';
import { RelayService } from '@zerolatency/proto/relay';
import { reloadServerTls, serverTlsOptions, type TlsWatch } from '@zerolatency/tls';
import type { Directory } from '../ports.ts';
import { callerGate, callerOf } from './caller.ts';
import { health, type Serving } from './health.ts';
import { listDevices } from './list-devices.ts';
import { locate } from './locate.ts';
import { type WatchOptions, watchRpcs } from './watch-rpcs.ts';

export interface RpcServerOptions extends WatchOptions {
  readonly host: string;
  readonly port: number;
  readonly allowedClients: readonly string[];
  readonly tls: TlsWatch;
  readonly directory: Directory;
  readonly serving: Serving;
}

export interface RpcServer {
  readonly url: string;
  /** Takes no new RPCs, waits for the open ones, and cuts them at the deadline. */
  close(deadline: AbortSignal): Promise<void>;
}

/** Requests name a device, and nothing else. */
const READ_MAX_BYTES = 16 * 1024;
const limits = { settings: { maxConcurrentStreams: 256 }, maxSessionMemory: 16 };

/** gRPC and Connect over HTTP/2, for clients with a certificate of our authority only. */
export async function serveRpc(options: RpcServerOptions): Promise<RpcServer> {
  const { tls, host, port } = options;
  const closing = new AbortController();
  const handler = connectNodeAdapter({
    routes: (router) => routes(router, options, closing.signal),
    interceptors: [watchRpcs(options)],
    contextValues: (request) => callerOf(request as Parameters<typeof callerOf>[0]),
    readMaxBytes: READ_MAX_BYTES,
    grpcWeb: false,
  });
  const certificate = serverTlsOptions(tls.current(), { requireClient: true });
  const server = createSecureServer({ ...limits, ...certificate }, handler);
  const unsubscribe = tls.subscribe((material) => reloadServerTls(server, material));
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  server.listen(port, host);
  await once(server, 'listening');
  // Listening on TCP always gives an address with a port.
  const { port: boundPort } = server.address() as AddressInfo;
  const urlHost = host.includes(':') ? `[${host}]` : host;
  return {
    url: `https://${urlHost}:${boundPort}`,
    close: async (deadline) => {
      unsubscribe();
      closing.abort();
      const closed = once(server, 'close');
      server.close();
      await closeSessions(sessions, closed, deadline);
    },
  };
}

function routes(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  const { directory, allowedClients, serving } = options;
  router.service(
    RelayService,
    { locate: locate(directory), listDevices: listDevices(directory) },
    { requestGate: callerGate(allowedClients) },
  );
  // A health watch has no end of its own, and would hold the server open.
  router.service(Health, health(serving), { shutdownSignal: closing });
}

async function closeSessions(
  sessions: ReadonlySet<ServerHttp2Session>,
  closed: Promise<unknown>,
  deadline: AbortSignal,
): Promise<void> {
  const cut = () => {
    for (const session of sessions) session.destroy();
  };
  for (const session of sessions) session.close();
  if (deadline.aborted) cut();
  deadline.addEventListener('abort', cut, { once: true });
  await closed;
  deadline.removeEventListener('abort', cut);
}
