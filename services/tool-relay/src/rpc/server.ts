import type { Http2ServerRequest } from 'node:http2';
import {
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Tracer } from '@opentelemetry/api';
import { ZlError } from '@zerolatency/errors';
import { peerName } from '@zerolatency/identity';
import { Health } from '@zerolatency/proto/health';
import { RelayService } from '@zerolatency/proto/relay';
import {
  addReflection,
  answerUnimplemented,
  fromConnectError,
  type HttpServer,
  healthService,
  listen,
  type Serving,
  toConnectError,
} from '@zerolatency/service/rpc';
import { extract, inSpan, metric, type Registry } from '@zerolatency/service/telemetry';
import type { TlsWatch } from '@zerolatency/service/tls';
import { type DeviceLookup, relayService } from './relay-service.ts';

export interface RpcServerOptions {
  readonly host: string;
  readonly port: number;
  readonly allowedClients: readonly string[];
  readonly tls: TlsWatch;
  readonly directory: DeviceLookup;
  readonly serving: Serving;
  readonly registry: Registry;
  readonly tracer: Tracer;
}

/** A request only names a device. */
const READ_MAX_BYTES = 16 * 1024;
/** A host looks up one device per stream. */
const MAX_STREAMS_PER_CONNECTION = 256;
const CALLER = createContextKey<string>('', { description: 'name in the client certificate' });

/** gRPC and Connect over HTTP/2, for clients with a certificate of our authority. */
export async function serveRpc(options: RpcServerOptions): Promise<HttpServer> {
  const { tls, host, port } = options;
  const closing = new AbortController();
  const handler = connectNodeAdapter({
    routes: (router) => routes(router, options, closing.signal),
    interceptors: [watchRpcs(options)],
    contextValues: (request) => callerOf(request as Parameters<typeof callerOf>[0]),
    readMaxBytes: READ_MAX_BYTES,
    grpcWeb: false,
    fallback: answerUnimplemented,
  });
  const server = await listen({
    host,
    port,
    tls,
    requireClient: true,
    maxStreamsPerConnection: MAX_STREAMS_PER_CONNECTION,
    handler,
  });
  return {
    ...server,
    close: (deadline) => {
      closing.abort();
      return server.close(deadline);
    },
  };
}

function routes(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  const { directory, allowedClients, serving } = options;
  router.service(RelayService, relayService(directory), {
    requestGate: callerGate(allowedClients),
  });
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

/** Runs before the body is read. */
function callerGate(allowed: readonly string[]): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const name = context.values.get(CALLER);
    if (allowed.includes(name)) return;
    const why = `"${name}" is not in rpc.allowedClients`;
    throw toConnectError(new ZlError('identity.forbidden', why));
  };
}

/** Records a span, a duration and a count per RPC, and converts failures to RPC errors. */
function watchRpcs({ registry, tracer }: RpcServerOptions): Interceptor {
  const requests = metric(registry, 'zl_rpc_requests_total');
  const durations = metric(registry, 'zl_rpc_duration_seconds');
  return (next) => async (request) => {
    const method = request.method.name;
    const startedAtMs = performance.now();
    const parent = extract(request.header.get('traceparent') ?? undefined);
    let errorId = 'none';
    try {
      return await inSpan(tracer, method, { kind: 'server', parent }, () =>
        next(request).catch((reason: unknown) => {
          const error = fromConnectError(reason);
          errorId = error.id;
          throw error;
        }),
      );
    } catch (reason) {
      throw toConnectError(reason);
    } finally {
      requests.labels({ method, error_id: errorId }).inc();
      durations.labels({ method }).observe((performance.now() - startedAtMs) / 1000);
    }
  };
}
