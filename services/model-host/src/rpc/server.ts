import {
  createServer as createPlainServer,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ConnectRouter } from '@connectrpc/connect';
import { compressionGzip, connectNodeAdapter } from '@connectrpc/connect-node';
import { AgentService } from '@zerolatency/proto/agent';
import { Health } from '@zerolatency/proto/health';
import { ServerReflection } from '@zerolatency/proto/reflection';
import { ServerReflection as ServerReflectionV1Alpha } from '@zerolatency/proto/reflection-v1alpha';
import { reloadServerTls, serverTlsOptions, type TlsWatch } from '@zerolatency/tls';
import type { Turns } from '../turn/turns.ts';
import { chat } from './chat.ts';
import { health, type Serving } from './health.ts';
import { identityGate, type VerifyToken } from './identity-gate.ts';
import { reflection } from './reflection.ts';
import { MAX_HISTORY_BYTES, MAX_TEXT_BYTES } from './start-turn.ts';
import { streamChat } from './stream-chat.ts';

export interface RpcServerOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined serves cleartext HTTP/2, which configuration allows on loopback only. */
  readonly tls: TlsWatch | undefined;
  readonly turns: Turns;
  readonly verifyToken: VerifyToken;
  readonly serving: Serving;
}

export interface RpcServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new streams, waits for the open ones, and cuts them at the deadline. */
  close(deadline: AbortSignal): Promise<void>;
}

// The largest request that start-turn.ts lets through, and room for its other fields.
const READ_MAX_BYTES = 2 * (MAX_HISTORY_BYTES + MAX_TEXT_BYTES);
const services = [AgentService, Health, ServerReflection, ServerReflectionV1Alpha];

/** gRPC and Connect on one port; HTTP/1.1 as well under TLS, for curl. */
export async function serveRpc(options: RpcServerOptions): Promise<RpcServer> {
  const closing = new AbortController();
  const handler = connectNodeAdapter({
    routes: (router) => routes(router, options, closing.signal),
    acceptCompression: [compressionGzip],
    readMaxBytes: READ_MAX_BYTES,
    grpcWeb: false,
  });
  const { tls, host, port } = options;
  const server =
    tls === undefined ? createPlainServer(limits, handler) : secureServer(tls, handler);
  const sessions = new Set<{ close(): void; destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
  const { port: boundPort } = server.address() as AddressInfo;
  const urlHost = host.includes(':') ? `[${host}]` : host;
  return {
    port: boundPort,
    url: `${tls === undefined ? 'http' : 'https'}://${urlHost}:${boundPort}`,
    close: (deadline) => {
      closing.abort();
      return closeServer(server, sessions, deadline);
    },
  };
}

// A client that opens more streams than one BFF needs is told so by HTTP/2 itself.
const limits = { settings: { maxConcurrentStreams: 1000 }, maxSessionMemory: 32 };

function secureServer(
  tls: TlsWatch,
  handler: Parameters<typeof createPlainServer>[1],
): Http2SecureServer {
  const options = {
    ...limits,
    ...serverTlsOptions(tls.current(), { requireClient: false }),
    allowHTTP1: true,
  };
  const server = createSecureServer(options, handler);
  const unsubscribe = tls.subscribe((material) => reloadServerTls(server, material));
  server.once('close', unsubscribe);
  return server;
}

function routes(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  const { turns, verifyToken, serving } = options;
  const described = reflection(services);
  router.service(
    AgentService,
    { streamChat: streamChat(turns), chat: chat(turns) },
    { requestGate: identityGate(verifyToken) },
  );
  // A health watch has no end of its own, and would hold the server open.
  router.service(Health, health(serving), { shutdownSignal: closing });
  router.service(ServerReflection, described.v1, { shutdownSignal: closing });
  router.service(ServerReflectionV1Alpha, described.v1alpha, { shutdownSignal: closing });
}

async function closeServer(
  server: Http2Server | Http2SecureServer,
  sessions: Set<{ close(): void; destroy(): void }>,
  deadline: AbortSignal,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const session of sessions) session.close();
  const cut = () => {
    for (const session of sessions) session.destroy();
    if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
      server.closeAllConnections();
  };
  if (deadline.aborted) cut();
  deadline.addEventListener('abort', cut, { once: true });
  await closed;
  deadline.removeEventListener('abort', cut);
}
