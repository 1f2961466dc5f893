import type { Http2ServerRequest } from 'node:http2';
import type { DescService } from '@bufbuild/protobuf';
import {
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
  type ServiceImpl,
} from '@connectrpc/connect';
import type { Tracer } from '@opentelemetry/api';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { peerName } from '@zerolatency/identity';
import { Health } from '@zerolatency/proto/health';
import {
  addReflection,
  type HttpServer,
  healthService,
  type ListenerLimits,
  listen,
  type Origins,
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

/** Who may call a method: names in client certificates. */
export interface Callers {
  readonly names: readonly string[];
  /** Where the names are from. */
  readonly setting: string;
}

/** A service, its implementation, and its callers by method. */
export interface OfferedService {
  readonly service: DescService;
  readonly addTo: (router: ConnectRouter, registry: Registry, closing: AbortSignal) => void;
}

/** Without callers anyone may call it. */
export function offer<S extends DescService>(
  service: S,
  implementation: ServiceImpl<S>,
  callers?: (method: string) => Callers,
): OfferedService {
  return {
    service,
    addTo: (router, registry, shutdownSignal) => {
      const gate = callers && { requestGate: callerGate(callers, registry) };
      router.service(service, implementation, { ...gate, shutdownSignal });
    },
  };
}

export interface ListenerBalancers {
  readonly origins: Origins | undefined;
  /** The address of the client whose request came over a connection from that address. */
  originOf(address: string, forwardedFor: string | undefined): string;
}

export interface RpcServerOptions {
  readonly host: string;
  readonly port: number;
  readonly services: readonly OfferedService[];
  /** Whether every client shows a certificate of our authority. */
  readonly requireClient: boolean;
  readonly tls: TlsWatch;
  readonly connections: Omit<ListenerLimits, 'maxStreams' | 'maxUnprovedStreams'>;
  /** What stands before the listener. */
  readonly balancers?: ListenerBalancers;
  readonly log: Logger;
  readonly serving: Serving;
  readonly registry: Registry;
  readonly tracer: Tracer;
}

/** A request names devices, and at most holds a key and a proof. */
const READ_MAX_BYTES = 16 * 1024;
/** A host looks up one device per stream. */
const MAX_STREAMS = 256;
/** Whoever shows no certificate sends one request. */
const MAX_STRANGERS_STREAMS = 8;
const CALLER = createContextKey<string>('', { description: 'name in the client certificate' });
const ADDRESS = createContextKey<string>('', { description: 'address of the client' });

/** The name in the client certificate, and the address. */
export function callerIn({ values }: HandlerContext) {
  return { name: values.get(CALLER), address: values.get(ADDRESS) };
}

/** gRPC and Connect over HTTP/2, and over HTTP/1.1 where clients need no certificate. */
export async function serveRpc(options: RpcServerOptions): Promise<HttpServer> {
  const { tls, host, port, requireClient } = options;
  const maxStreams = requireClient ? MAX_STREAMS : MAX_STRANGERS_STREAMS;
  const closing = new AbortController();
  const handler = rpcHandler({
    routes: (router) => routes(router, options, closing.signal),
    interceptors: [watchRpcs(options)],
    contextValues: (request) => callerOf(request as Http2ServerRequest),
    readMaxBytes: READ_MAX_BYTES,
    onRefused: ({ method, error }) => count(options.registry, method, error.id),
  });
  const server = await listen({
    ...{ host, port, tls, requireClient },
    origins: options.balancers?.origins,
    limits: { ...options.connections, maxStreams, maxUnprovedStreams: maxStreams },
    observer: watchListener(options.registry, options.log),
    handler,
    closing,
  });
  return server;

  /** TLS has verified a client certificate; this reads the name in it. */
  function callerOf(request: Http2ServerRequest) {
    // HTTP/1.1 has no streams.
    const socket = request.stream?.session?.socket ?? request.socket;
    const address = server.connectionOf(request)?.address ?? socket.remoteAddress ?? '';
    const { 'x-forwarded-for': forwarded } = request.headers;
    const header = Array.isArray(forwarded) ? forwarded.join(',') : forwarded;
    return createContextValues()
      .set(CALLER, peerName(socket) ?? '')
      .set(ADDRESS, options.balancers?.originOf(address, header) ?? address);
  }
}

function routes(router: ConnectRouter, options: RpcServerOptions, closing: AbortSignal): void {
  const { services, serving, registry, requireClient } = options;
  for (const { addTo } of services) addTo(router, registry, closing);
  // Strangers get no endless streams, and nothing that they need not know.
  if (!requireClient) return;
  // These streams never end by themselves and would keep the server open.
  const endless = { shutdownSignal: closing };
  const [first] = services;
  router.service(
    Health,
    healthService(serving, { service: first?.service.typeName ?? '' }),
    endless,
  );
  addReflection(router, [...services.map(({ service }) => service), Health], endless);
}

/** Runs before the body is read, and before the interceptors. */
function callerGate(callers: (method: string) => Callers, registry: Registry) {
  return async (context: HandlerContext): Promise<void> => {
    const name = context.values.get(CALLER);
    const { names, setting } = callers(context.method.name);
    if (names.includes(name)) return;
    const error = new ZlError('identity.forbidden', `"${name}" is not in ${setting}`);
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
