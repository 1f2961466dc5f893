import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ConnectRouter } from '@connectrpc/connect';
import { compressionGzip } from '@connectrpc/connect-node';
import type { ProvenIdentity } from '@zerolatency/identity';
import { AgentService } from '@zerolatency/proto/agent';
import { Health } from '@zerolatency/proto/health';
import {
  addReflection,
  type HttpServer,
  type HttpServerOptions,
  healthService,
  listen,
  rpcHandler,
  type Serving,
} from '@zerolatency/service/rpc';
import { MAX_HISTORY_BYTES } from '../chat/session.ts';
import type { Refusals } from '../limits/refusals.ts';
import {
  type ChatDeps,
  callTool,
  cancelTurn,
  chat,
  detailed,
  MAX_TEXT_BYTES,
  resumeTurn,
  streamChat,
} from './chat.ts';
import { identityGate, type StreamSlots, type VerifyAccessToken } from './identity-gate.ts';

interface Certificates {
  /** @throws ZlError identity.invalid */
  identify(socket: Socket): ProvenIdentity | undefined;
  proves(socket: TLSSocket): boolean;
}

export interface RpcServerOptions
  extends Pick<HttpServerOptions, 'host' | 'port' | 'tls'>,
    ChatDeps {
  readonly limits: HttpServerOptions['limits'];
  readonly listener: HttpServerOptions['observer'];
  readonly streams: StreamSlots;
  readonly refusals: Refusals;
  readonly verifyToken: VerifyAccessToken;
  /** Undefined where clients are not asked for a certificate. */
  readonly certificates: Certificates | undefined;
  readonly serving: Serving;
}

// The largest turn that chat.ts accepts, and room for its other fields.
const READ_MAX_BYTES = 2 * (MAX_HISTORY_BYTES + MAX_TEXT_BYTES);
// Anybody may ask for health and reflection, without a token.
const PUBLIC_READ_MAX_BYTES = 16 * 1024;
// Never: compressed length would tell an eavesdropper of secrets beside text that others wrote, and
// gzip of a large result costs as much CPU as all else that the host does with it.
const COMPRESS_MIN_BYTES = Number.POSITIVE_INFINITY;

export async function serveRpc(options: RpcServerOptions): Promise<HttpServer> {
  const closing = new AbortController();
  const { certificates } = options;
  const handler = rpcHandler({
    routes: (router) => route(router, options, closing.signal),
    gate: {
      service: AgentService,
      admit: identityGate({
        ...options,
        identifyByCertificate: (request) => {
          const connection = server.connectionOf(request);
          return connection && certificates?.identify(connection.socket);
        },
        onProved: (request) => server.connectionOf(request)?.prove(),
      }),
    },
    acceptCompression: [compressionGzip],
    compressMinBytes: COMPRESS_MIN_BYTES,
    readMaxBytes: READ_MAX_BYTES,
    onRefused: (refusal) => options.observer.refused(refusal),
  });
  const { host, port, tls, limits, listener: observer } = options;
  const needsToken = (path: string) => path.startsWith(`/${AgentService.typeName}/`);
  const isSpent = (authorization: string) => options.refusals.isSpent(authorization);
  const server = await listen({
    ...{ host, port, tls, limits, observer },
    ...{ needsToken, isSpent, handler, closing },
    provesClient: certificates && ((socket) => certificates.proves(socket)),
  });
  return server;
}

function route(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  const { serving } = options;
  const interceptors = [detailed(options.observer)];
  router.service(
    AgentService,
    {
      streamChat: streamChat(options),
      chat: chat(options),
      callTool: callTool(options),
      resumeTurn: resumeTurn(options),
      cancelTurn: cancelTurn(options),
    },
    { interceptors },
  );
  // These never end by themselves and would keep the server open.
  const endless = { interceptors, shutdownSignal: closing, readMaxBytes: PUBLIC_READ_MAX_BYTES };
  router.service(Health, healthService(serving, { service: AgentService.typeName }), endless);
  addReflection(router, [AgentService, Health], endless);
}
