import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { DescMethod } from '@bufbuild/protobuf';
import { type ConnectRouter, type ContextValues, createConnectRouter } from '@connectrpc/connect';
import { compressionGzip } from '@connectrpc/connect-node';
import type { ZlError } from '@zerolatency/errors';
import type { ProvenIdentity } from '@zerolatency/identity';
import { AgentService } from '@zerolatency/proto/agent';
import { Health } from '@zerolatency/proto/health';
import {
  type ArrivedRpc,
  addReflection,
  type FailedStream,
  type HttpServer,
  type HttpServerOptions,
  healthService,
  listen,
  type MessageStream,
  rpcHandler,
  runStreaming,
  type Serve,
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
import {
  type Admit,
  identityGate,
  identityOf,
  type StreamSlots,
  type VerifyAccessToken,
} from './identity-gate.ts';

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
  readonly otherProtocol: OtherProtocol;
}

/** A protocol other than gRPC and Connect, on the same port. */
export interface OtherProtocol {
  /** Its paths begin with this, and are served only with an access token. */
  readonly prefix: string;
  /** Serves its own requests and those of browsers, and passes on what is an RPC. */
  readonly beside: (rpcs: DirectRpcs, serve: Serve) => Serve;
}

/** The RPCs for another protocol, which reads their requests and writes their events. */
export interface DirectRpcs {
  readonly maxMessageBytes: number;
  readonly admit: Admit;
  identityOf(values: ContextValues): ProvenIdentity;
  /** Runs an RPC that was admitted. Rejects only when the message does. */
  run(rpc: ArrivedRpc, call: DirectCall): Promise<FailedStream | undefined>;
  /** Turned away before its RPC began. */
  refused(method: DescMethod, error: ZlError): void;
}

interface DirectCall {
  readonly values: ContextValues;
  readonly message: Promise<Uint8Array>;
  readonly stream: MessageStream;
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
  const { certificates, otherProtocol } = options;
  const admit = identityGate({
    ...options,
    identifyByCertificate: (request) => {
      const connection = server.connectionOf(request);
      return connection && certificates?.identify(connection.socket);
    },
    onProved: (request) => server.connectionOf(request)?.prove(),
  });
  const serve = rpcHandler({
    routes: (router) => route(router, options, closing.signal),
    gate: { service: AgentService, admit: (rpc) => admit(rpc) },
    acceptCompression: [compressionGzip],
    compressMinBytes: COMPRESS_MIN_BYTES,
    readMaxBytes: READ_MAX_BYTES,
    onRefused: (refusal) => options.observer.refused(refusal),
  });
  const { host, port, tls, limits, listener: observer } = options;
  const needsToken = (path: string) =>
    path.startsWith(`/${AgentService.typeName}/`) || path.startsWith(otherProtocol.prefix);
  const serveBeside = otherProtocol.beside(directRpcs(admit, options), serve);
  const handler: Serve = (request, response) => {
    const isOther =
      request.headers.origin !== undefined || request.url.startsWith(otherProtocol.prefix);
    return (isOther ? serveBeside : serve)(request, response);
  };
  const isSpent = (authorization: string) => options.refusals.isSpent(authorization);
  const server = await listen({
    ...{ host, port, tls, limits, observer },
    ...{ needsToken, isSpent, handler, closing },
    provesClient: certificates && ((socket) => certificates.proves(socket)),
  });
  return server;
}

function directRpcs(admit: Admit, options: RpcServerOptions): DirectRpcs {
  const router = createConnectRouter({ readMaxBytes: READ_MAX_BYTES });
  routeAgent(router, options);
  return {
    admit,
    maxMessageBytes: READ_MAX_BYTES,
    identityOf: (values) => identityOf({ values }),
    run: (rpc, call) => {
      const handler = router.handlers.find(({ method }) => method === rpc.method);
      if (handler === undefined) throw new Error(`${rpc.method.name} is not served`);
      return runStreaming(handler, { ...rpc, ...call });
    },
    refused: (method, error) =>
      options.observer.refused({ method: `${method.parent.typeName}/${method.name}`, error }),
  };
}

function route(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  routeAgent(router, options);
  const { observer, serving } = options;
  // These never end by themselves and would keep the server open.
  const endless = {
    ...{ interceptors: [detailed(observer)], readMaxBytes: PUBLIC_READ_MAX_BYTES },
    shutdownSignal: closing,
  };
  router.service(Health, healthService(serving, { service: AgentService.typeName }), endless);
  addReflection(router, [AgentService, Health], endless);
}

function routeAgent(router: ConnectRouter, options: RpcServerOptions): void {
  router.service(
    AgentService,
    {
      streamChat: streamChat(options),
      chat: chat(options),
      callTool: callTool(options),
      resumeTurn: resumeTurn(options),
      cancelTurn: cancelTurn(options),
    },
    { interceptors: [detailed(options.observer)] },
  );
}
