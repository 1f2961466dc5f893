import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Health } from '@zerolatency/proto/health';
import { RelayService } from '@zerolatency/proto/relay';
import {
  addReflection,
  answerUnimplemented,
  type HttpServer,
  healthService,
  listen,
  type Serving,
} from '@zerolatency/service/rpc';
import type { TlsWatch } from '@zerolatency/service/tls';
import { callerGate, callerOf } from './caller.ts';
import { type DeviceLookup, relayService } from './relay-service.ts';
import { type WatchOptions, watchRpcs } from './watch-rpcs.ts';

export interface RpcServerOptions extends WatchOptions {
  readonly host: string;
  readonly port: number;
  readonly allowedClients: readonly string[];
  readonly tls: TlsWatch;
  readonly directory: DeviceLookup;
  readonly serving: Serving;
}

/** A request only names a device. */
const READ_MAX_BYTES = 16 * 1024;
/** A host looks up one device per stream. */
const MAX_STREAMS_PER_CONNECTION = 256;

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
