import type { Http2ServerRequest } from 'node:http2';
import {
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import type { Tracer } from '@opentelemetry/api';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { peerName } from '@zerolatency/identity';
import { Health } from '@zerolatency/proto/health';
import { RelayService } from '@zerolatency/proto/relay';
import {
  addReflection,
  type HttpServer,
  healthService,
  type ListenerLimits,
  listen,
  readingError,
  rpcHandler,
  type Serving,
  toConnectError,
  watchListener,
} from '@zerolatency/service/rpc';
import {
  extract,
  inSpan,
  type Logger,
  metric,
  type Registry,
} from '@zerolatency/service/telemetry';
import type { TlsWatch } from '@zerolatency/service/tls';
import { type DeviceLookup, relayService } from './relay-service.ts';

export interface RpcServerOptions {
  readonly host: string;
  readonly port: number;
  readonly allowedClients: readonly string[];
  readonly tls: TlsWatch;
  readonly connections: Omit<ListenerLimits, 'maxStreams' | 'maxUnprovedStreams'>;
  readonly log: Logger;
  readonly directory: DeviceLookup;
  readonly serving: Serving;
  readonly registry: Registry;
  readonly tracer: Tracer;
}

/** A request only names a device. */
const READ_MAX_BYTES = 16 * 1024;
/** A host looks up one device per stream. */
const MAX_STREAMS = 256;
const CALLER = createContextKey<string>('', { description: 'name in the client certificate' });

/** gRPC and Connect over HTTP/2, for clients with a certificate of our authority. */
export async function serveRpc(options: RpcServerOptions): Promise<HttpServer> {
  const { tls, host, port } = options;
  const closing = new AbortController();
  const handler = rpcHandler({
    routes: (router) => routes(router, options, closing.signal),
    interceptors: [watchRpcs(options)],
    contextValues: (request) => callerOf(request as Parameters<typeof callerOf>[0]),
    readMaxBytes: READ_MAX_BYTES,
    onRefused: ({ method, error }) => count(options.registry, method, error.id),
  });
  return listen({
    host,
    port,
    tls,
    requireClient: true,
    // TLS has authenticated whoever opens a stream.
    limits: { ...options.connections, maxStreams: MAX_STREAMS, maxUnprovedStreams: MAX_STREAMS },
    observer: watchListener(options.registry, options.log),
    handler,
    closing,
  });
}

function routes(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  const { directory, serving } = options;
  router.service(RelayService, relayService(directory), { requestGate: callerGate(options) });
  // These streams never end by themselves and would keep the server open.
  const endless = { shutdownSignal: closing };
  router.service(Health, healthService(serving, { service: RelayService.typeName }), endless);
  addReflection(router, [RelayService, Health], endless);
}

/** TLS has verified the client certificate; this reads the name in it. */
function callerOf({ stream }: Http2ServerRequest) {
  const socket = stream.session?.socket;
  const name = socket === undefined ? undefined : peerName(socket);
  return createContextValues().set(CALLER, name ?? '');
}

/** Runs before the body is read, and before the interceptors. */
function callerGate({ allowedClients, registry }: RpcServerOptions) {
  return async (context: HandlerContext): Promise<void> => {
    const name = context.values.get(CALLER);
    if (allowedClients.includes(name)) return;
    const why = `"${name}" is not in rpc.allowedClients`;
    const error = new ZlError('identity.forbidden', why);
    count(registry, methodOf(context), error.id);
    throw toConnectError(error);
  };
}

/** Service and method, as gRPC writes them in its paths. */
function methodOf({ service, method }: Pick<HandlerContext, 'service' | 'method'>): string {
  return `${service.typeName}/${method.name}`;
}

function count(registry: Registry, method: string, errorId: ErrorId | 'none'): void {
  metric(registry, 'zl_rpc_requests_total').labels({ method, error_id: errorId }).inc();
}

/** Records a span, a duration and a count per RPC, and converts failures to RPC errors. */
function watchRpcs({ registry, tracer }: RpcServerOptions): Interceptor {
  const durations = metric(registry, 'zl_rpc_duration_seconds');
  return (next) => async (request) => {
    const method = methodOf(request);
    const startedAtMs = performance.now();
    const parent = extract(request.header.get('traceparent') ?? undefined);
    let errorId: ErrorId | 'none' = 'none';
    try {
      return await inSpan(tracer, request.method.name, { kind: 'server', parent }, () =>
        next(request).catch((reason: unknown) => {
          const error = readingError(reason);
          errorId = error.id;
          throw error;
        }),
      );
    } catch (reason) {
      throw toConnectError(reason);
    } finally {
      count(registry, method, errorId);
      durations.labels({ method }).observe((performance.now() - startedAtMs) / 1000);
    }
  };
}
