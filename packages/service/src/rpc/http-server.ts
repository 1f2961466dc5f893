import {
  constants,
  createServer as createPlainServer,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { reloadServerTls, serverTlsOptions, type TlsWatch } from '@zerolatency/service/tls';

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined serves cleartext HTTP/2. */
  readonly tls: TlsWatch | undefined;
  /** Every client shows a certificate of our authority. Then there is no HTTP/1.1. */
  readonly requireClient?: boolean;
  /** HTTP/2 itself tells clients the limit. */
  readonly maxStreamsPerConnection: number;
  readonly handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new streams, waits for the open ones, and cuts them at the deadline. */
  close(deadline: AbortSignal): Promise<void>;
}

// Headers, queues and buffers of one connection, in megabytes.
const MAX_SESSION_MEMORY = 32;
// After this long without traffic the client has forgotten the connection or vanished.
const IDLE_SESSION_MS = 10 * 60 * 1000;
// A reset overtakes trailers that are still on their way to the socket.
const RESET_AFTER_MS = 1000;
// An error sent at the deadline still has to reach its reader.
const FLUSH_GRACE_MS = 500;

/** HTTP/2, and under TLS HTTP/1.1 as well. */
export async function listen(options: HttpServerOptions): Promise<HttpServer> {
  const { tls, host, port, handler } = options;
  const server =
    tls === undefined ? createPlainServer(limitsOf(options)) : secureServer(tls, options);
  server.on('request', (request, response) => {
    endWithResponse(request);
    try {
      handler(request, response);
    } catch {
      // Connect throws on an authority that is not a valid URL. Uncaught, any stranger could end the process.
      response.writeHead(400);
      response.end();
    }
  });
  const connections = trackConnections(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
  // Listening on TCP always gives an address with a port.
  const { port: boundPort } = server.address() as AddressInfo;
  const urlHost = host.includes(':') ? `[${host}]` : host;
  return {
    port: boundPort,
    url: `${tls === undefined ? 'http' : 'https'}://${urlHost}:${boundPort}`,
    close: async (deadline) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await connections.close(closed, deadline);
    },
  };
}

function limitsOf({ maxStreamsPerConnection }: HttpServerOptions) {
  const settings = { maxConcurrentStreams: maxStreamsPerConnection };
  return { settings, maxSessionMemory: MAX_SESSION_MEMORY };
}

function secureServer(tls: TlsWatch, options: HttpServerOptions): Http2SecureServer {
  const { requireClient = false } = options;
  const certificate = serverTlsOptions(tls.current(), { requireClient });
  const server = createSecureServer({
    ...limitsOf(options),
    ...certificate,
    allowHTTP1: !requireClient,
  });
  const unsubscribe = tls.subscribe((material) => reloadServerTls(server, material));
  server.once('close', unsubscribe);
  return server;
}

/**
 * A client may still be sending when its RPC has ended. RFC 9113 section 8.1
 * has the server reset such a stream without error; otherwise it stays open for
 * as long as the client likes.
 */
function endWithResponse({ stream }: Http2ServerRequest): void {
  // Node resets a stream whose request nobody read as soon as it is answered,
  // and curl then calls a refusal a broken connection (error 92).
  stream?.once('prefinish', () => stream.resume());
  // HTTP/1.1 requests have no stream of their own. The compatible response's
  // own finish event comes when the stream closes, which is what we wait for.
  stream?.once('finish', () => {
    const reset = () => stream.close(constants.NGHTTP2_NO_ERROR);
    const timer = setTimeout(reset, RESET_AFTER_MS);
    stream.once('close', () => clearTimeout(timer));
  });
}

function trackConnections(server: Http2Server | Http2SecureServer) {
  const sockets = new Set<Socket>();
  const sessions = new Set<{ close(): void }>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => {
    sessions.add(session);
    // Open streams continue; new ones need a new connection.
    session.setTimeout(IDLE_SESSION_MS, () => session.close());
    session.once('close', () => sessions.delete(session));
  });
  return {
    async close(closed: Promise<void>, deadline: AbortSignal): Promise<void> {
      for (const session of sessions) session.close();
      let timer: NodeJS.Timeout | undefined;
      const cutSoon = () => {
        timer = setTimeout(() => {
          for (const socket of sockets) socket.destroy();
        }, FLUSH_GRACE_MS);
      };
      if (deadline.aborted) cutSoon();
      else deadline.addEventListener('abort', cutSoon, { once: true });
      await closed;
      deadline.removeEventListener('abort', cutSoon);
      clearTimeout(timer);
    },
  };
}
