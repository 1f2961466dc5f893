import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { fromUnknown } from '@zerolatency/errors';
import type { Lifecycle } from './lifecycle.ts';

/** Probes and scrapers send little and promptly; a slow client is cut off. */
const REQUEST_TIMEOUT_MS = 5_000;
const MAX_HEADER_BYTES = 8_192;
const MAX_CONNECTIONS = 64;
const DEFAULT_CHECK_TIMEOUT_MS = 1_000;

/** The part of a metrics registry that is served. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface AdminOptions {
  readonly host?: string;
  readonly port: number;
  readonly lifecycle: Lifecycle;
  readonly registry: MetricsSource;
  readonly service: string;
  readonly version: string;
  readonly configDigest: string;
  readonly components?: Readonly<Record<string, ComponentCheck>>;
  /** What this service alone has, by path. */
  readonly pages?: AdminPages;
  readonly checkTimeoutMs?: number;
  readonly log: { error(fields: object, message: string): void };
}

export interface AdminServer {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

export type AdminPages = Readonly<Record<string, (request: AdminRequest) => Promise<AdminPage>>>;

export interface AdminRequest {
  /** IP address of the client, or of the proxy before it. */
  readonly peer: string;
  /** As the client names this server; empty when it does not. */
  readonly host: string;
  readonly query: URLSearchParams;
}

export interface AdminPage {
  readonly status: number;
  /** The media type of the body. */
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Plain HTTP for probes, scrapers and people, apart from the ports that do the work. */
export async function serveAdmin(options: AdminOptions): Promise<AdminServer> {
  const { host = '127.0.0.1' } = options;
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
    },
    (request, response) => void respond(options, request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(options.port, host);
  await once(server, 'listening');
  const port = listeningPort(server);
  const urlHost = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${urlHost}:${port}`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listeningPort(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on TCP');
  return address.port;
}

async function respond(
  options: AdminOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const answer = await answerTo(options, request).catch((err: unknown) => {
    // A metric that cannot be read must not end the process.
    options.log.error({ err, path: request.url }, 'admin request failed');
    return json(500, { error: fromUnknown(err).message });
  });
  response.writeHead(answer.status, {
    ...answer.headers,
    'content-type': answer.type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(request.method === 'GET' ? {} : { connection: 'close', allow: 'GET' }),
  });
  response.end(answer.body);
}

async function answerTo(options: AdminOptions, request: IncomingMessage): Promise<AdminPage> {
  if (request.method !== 'GET') return json(405, { error: 'only GET' });
  const { lifecycle, registry } = options;
  const [path = ''] = request.url?.split('?', 1) ?? [];
  switch (path) {
    case '/livez':
      return json(lifecycle.state === 'failed' ? 503 : 200, { state: lifecycle.state });
    case '/startupz':
      return json(lifecycle.state === 'starting' ? 503 : 200, { state: lifecycle.state });
    case '/readyz':
      return readiness(lifecycle);
    case '/metrics':
      return { status: 200, type: registry.contentType, body: await registry.metrics() };
    case '/health':
      return health(options);
    default:
      return (await options.pages?.[path]?.(readRequest(request))) ?? NOT_FOUND;
  }
}

function readRequest({ url = '', headers, socket }: IncomingMessage): AdminRequest {
  const [, query = ''] = url.split('?', 2);
  const { host = '' } = headers;
  return { peer: socket.remoteAddress ?? '', host, query: new URLSearchParams(query) };
}

function readiness({ accepting, obstacles }: Lifecycle): AdminPage {
  return json(accepting ? 200 : 503, { ready: accepting, reasons: obstacles });
}

/** Always 200: the reader decides what the report means. */
async function health(options: AdminOptions): Promise<AdminPage> {
  const { lifecycle, service, version, configDigest, components = {} } = options;
  const reports = await reportComponents(
    components,
    options.checkTimeoutMs ?? DEFAULT_CHECK_TIMEOUT_MS,
  );
  return json(200, {
    service,
    version,
    state: lifecycle.state,
    status: lifecycle.state === 'failed' ? 'down' : worstStatus(reports),
    configDigest,
    components: reports,
  });
}

function json(status: number, value: unknown): AdminPage {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` };
}

const NOT_FOUND = json(404, { error: 'not found' });

export interface ComponentStatus {
  readonly status: 'ok' | 'degraded' | 'down';
  readonly detail?: string;
  readonly version?: string;
  /** What a request may name, the default first. */
  readonly choices?: readonly string[];
  /** ISO 8601. */
  readonly expiresAt?: string;
}

export type ComponentCheck = () => Promise<ComponentStatus>;

export interface ComponentReport extends ComponentStatus {
  readonly name: string;
  readonly latencyMs: number;
  readonly error?: { readonly id: string; readonly message: string };
}

/** Checks all components at once; one that does not answer in time is down. */
function reportComponents(
  components: Readonly<Record<string, ComponentCheck>>,
  timeoutMs: number,
): Promise<ComponentReport[]> {
  const reports = Object.entries(components).map(([name, check]) =>
    reportOne(name, check, timeoutMs),
  );
  return Promise.all(reports);
}

async function reportOne(
  name: string,
  check: ComponentCheck,
  timeoutMs: number,
): Promise<ComponentReport> {
  const startedMs = performance.now();
  const { promise: timeout, resolve } = Promise.withResolvers<ComponentStatus>();
  const timer = setTimeout(
    () => resolve({ status: 'down', detail: `no answer within ${timeoutMs} ms` }),
    timeoutMs,
  );
  try {
    const result = await Promise.race([check(), timeout]);
    return { name, ...result, latencyMs: elapsedMs(startedMs) };
  } catch (reason) {
    // Reporting a failed check is the purpose.
    const { id, message } = fromUnknown(reason);
    return { name, status: 'down', latencyMs: elapsedMs(startedMs), error: { id, message } };
  } finally {
    clearTimeout(timer);
  }
}

function elapsedMs(startedMs: number): number {
  return Math.round((performance.now() - startedMs) * 1000) / 1000;
}

function worstStatus(reports: readonly ComponentReport[]): ComponentStatus['status'] {
  if (reports.some(({ status }) => status === 'down')) return 'down';
  if (reports.some(({ status }) => status === 'degraded')) return 'degraded';
  return 'ok';
}
