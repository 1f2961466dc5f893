import { publishCatalogueAt } from '@zerolatency/errors';
import { type AdminPage, type ComponentCheck, serveAdmin } from '@zerolatency/service/lifecycle';
import { exposeListener, type HttpServer, watchListener } from '@zerolatency/service/rpc';
import {
  type Logger,
  LogThrottle,
  maskedSecrets,
  metric,
  type Registry,
} from '@zerolatency/service/telemetry';
import { exposeCertificate, type TlsWatch, watchTls } from '@zerolatency/service/tls';
import manifest from '../package.json' with { type: 'json' };
import { ClientCertificates } from './adapters/client-certificates/client-certificates.ts';
import { consolePages } from './adapters/console/console-pages.ts';
import { openTokenVerifier, type TokenVerifier } from './adapters/jwks/token-verifier.ts';
import { openKeys } from './app/open-keys.ts';
import { openModels, reportBreakers } from './app/open-models.ts';
import { openPrices } from './app/open-prices.ts';
import { openQuotas, openTurnSlots } from './app/open-quotas.ts';
import { openRedis } from './app/open-redis.ts';
import { type HostDeps, type OpenedTools, openTools, type ToolsDeps } from './app/open-tools.ts';
import { openTurnLogs } from './app/open-turn-logs.ts';
import { watchTurns } from './app/turn-telemetry.ts';
import type { TurnLogs } from './chat/turn-logs.ts';
import type { HostConfig } from './config.ts';
import { RecentTurns } from './console/recent-turns.ts';
import type { Quotas } from './limits/quotas.ts';
import { Refusals } from './limits/refusals.ts';
import { Slots } from './limits/slots.ts';
import {
  exposeBreakers,
  exposeRunning,
  keySetReads,
  modelTableReads,
  turnMetrics,
} from './metrics.ts';
import type { Models } from './providers/models.ts';
import type { Prices } from './providers/prices.ts';
import type { EndedRpc, RpcObserver } from './rpc/chat.ts';
import { serveRpc } from './rpc/server.ts';
import { eventStreams } from './sse/event-streams.ts';
import { Turns } from './turn/turns.ts';

export interface HostAddresses {
  readonly rpc: string;
  readonly admin: string;
}

/** What a shutdown closes, first to last: turns end while their tools, policy and ledger still work. */
const SHUTDOWN_ORDER = [
  'turns',
  'rpc',
  'admin',
  'token verifier',
  'models',
  'quotas',
  'keys',
  'turn logs',
  'redis',
  'prices',
  'devices',
  'policy',
  'ledger',
  'checkpoint export',
];

/** More than one BFF needs on one connection. */
const MAX_STREAMS_PER_CONNECTION = 1000;

/** Resolves when the host can take turns. The drain closes everything it opens. */
export async function startHost(config: HostConfig, deps: HostDeps): Promise<HostAddresses> {
  return serveHost(config, deps, (opening) => openTools(config, opening));
}

/** The host over the given tools: the seam for tests without devices. */
export async function serveHost(
  config: HostConfig,
  deps: HostDeps,
  open: (deps: ToolsDeps) => Promise<OpenedTools>,
): Promise<HostAddresses> {
  deps.lifecycle.drainOrder(SHUTDOWN_ORDER);
  publishCatalogueAt(config.errors?.catalogueUrl);
  const recent = config.admin.console ? new RecentTurns() : undefined;
  const shared = await openRedis(config.redis, deps);
  const quotas = openQuotas(config.limits, { ...deps, redis: shared?.redis });
  const tools = await open({ ...deps, recent, quotas });
  const verifier = await openVerifier(config, deps);
  const keys = await openKeys(config, deps);
  deps.lifecycle.onDrain('keys', async () => keys.close());
  const { prices, ...priceTable } = await openPrices(config.providers, deps.log);
  deps.lifecycle.onDrain('prices', async () => priceTable.close());
  const onTable = modelTableReads(deps.registry);
  const { models, warm, ...modelTable } = await openModels(config, {
    ...deps,
    ...{ keys, prices, onTable },
  });
  deps.lifecycle.onDrain('models', modelTable.close);
  const warmed = warm((provider, err) =>
    deps.log.warn({ provider, err }, 'the provider could not be reached at the start'),
  );
  exposeBreakers(deps.registry, () => models.targets);
  const turns = openTurns(config, { ...deps, tools, models, prices, quotas, recent });
  const { lifecycle, log, registry } = deps;
  let rpcStatus: ComponentCheck = async () => ({ status: 'ok', detail: 'not open yet' });
  const tls = config.rpc.tls && watchTls(config.rpc.tls, { log });
  const components = {
    ...tools.components,
    models: modelTable.status,
    ...(shared && { redis: shared.component }),
    limits: async () => quotas.status(),
    prices: priceTable.status,
    providers: async () => reportBreakers(models.targets),
    keys: keys.status,
    'identity keys': async () => verifier.status(),
    ...(tls && { certificate: async () => tls.status() }),
    rpc: () => rpcStatus(),
  };
  const admin = await serveAdmin({
    ...{ ...config.admin, lifecycle, registry, log, components },
    pages: {
      '/checkpoint': () => checkpointPage(tools.recorder),
      ...(recent && consolePages(tools.overview, recent)),
    },
    ...{ service: 'model-host', version: manifest.version, configDigest: config.digest },
  });
  lifecycle.onDrain('admin', () => admin.close());
  const logs = await openTurnLogs(config, shared?.redis, deps);
  const rpc = await openRpc(config, deps, { turns, logs, verifier, tls });
  rpcStatus = exposeListener(registry, rpc);
  deps.lifecycle.onDrain('turns', (deadline) => turns.drain(deadline));
  // Ready is what comes next.
  await warmed;
  return { rpc: rpc.url, admin: admin.url };
}

/** Until a key set has been read, every user would be refused. */
async function openVerifier(
  { identity }: HostConfig,
  { lifecycle, log, registry }: HostDeps,
): Promise<TokenVerifier> {
  const reads = keySetReads(registry);
  const isReady = Promise.withResolvers<void>();
  const verifier = await openTokenVerifier(identity, {
    log,
    onRead(issuer, result) {
      reads(issuer, result);
      if (result === 'none') isReady.resolve();
    },
  });
  lifecycle.onDrain('token verifier', async () => verifier.close());
  if (verifier.status().status === 'down' && identity.certificates.length === 0) {
    void isReady.promise.then(lifecycle.pause('no key set of a token issuer has been read'));
  }
  return verifier;
}

/** Text, so that `curl` writes the note that `zl audit verify --checkpoint` reads. */
async function checkpointPage(recorder: OpenedTools['recorder']): Promise<AdminPage> {
  const type = 'text/plain; charset=utf-8';
  const body = await recorder.checkpoint();
  return body === ''
    ? { status: 503, type, body: 'the ledger is corrupt, so there is no checkpoint\n' }
    : { status: 200, type, body };
}

function openTurns(
  config: HostConfig,
  {
    log,
    registry,
    tracer,
    tools,
    models,
    prices,
    quotas,
    recent,
  }: HostDeps & {
    readonly tools: OpenedTools;
    readonly models: Models;
    readonly prices: Prices;
    readonly quotas: Quotas;
  },
): Turns {
  const { maxCallsPerStep, maxToolResultBytes, ...limits } = config.turn;
  const turns = new Turns({
    models,
    limits,
    slots: openTurnSlots(config.limits, registry),
    quotas,
    toolboxes: tools.toolboxes,
    recorder: tools.recorder,
    prices,
    assertWritable: tools.assertWritable,
    bounds: { maxCallsPerStep, maxToolResultBytes },
    retries: config.providers.retries,
    nowMs: Date.now,
    watch: watchTurns({ tracer, metrics: turnMetrics(registry), log, recent }),
  });
  exposeRunning(registry, () => turns.running);
  return turns;
}

interface RpcParts {
  readonly turns: Turns;
  readonly logs: TurnLogs;
  readonly verifier: TokenVerifier;
  readonly tls: TlsWatch | undefined;
}

async function openRpc(
  config: HostConfig,
  { lifecycle, log, registry }: HostDeps,
  { turns, logs, verifier, tls }: RpcParts,
): Promise<HttpServer> {
  if (tls !== undefined) exposeCertificate(registry, () => tls.current().cert);
  const streams = new Slots('streams', config.limits.streams);
  const rpc = await serveRpc({
    ...config.rpc,
    tls,
    ...{ turns, logs },
    limits: { ...config.rpc.connections, maxStreams: MAX_STREAMS_PER_CONNECTION },
    listener: watchListener(registry, log),
    streams,
    otherProtocol: eventStreams({ slots: streams, origins: config.rpc.origins }),
    refusals: new Refusals(),
    observer: watchRpcs(registry, log),
    verifyToken: verifier.verify,
    certificates: tls && openCertificates(config, tls),
    serving: lifecycle,
  });
  lifecycle.onDrain('rpc', async (deadline) => {
    await rpc.close(deadline);
    tls?.close();
  });
  return rpc;
}

function openCertificates(
  { identity: { certificates: rules } }: HostConfig,
  tls: TlsWatch,
): ClientCertificates | undefined {
  return rules.length === 0 ? undefined : new ClientCertificates({ rules, tls });
}

/** For each error id: a client can fail as often as it likes, and a line costs more than its failure. */
const FAILURES_LOGGED_PER_MINUTE = 60;

function watchRpcs(registry: Registry, log: Logger): RpcObserver {
  const requests = metric(registry, 'zl_rpc_requests_total');
  const durations = metric(registry, 'zl_rpc_duration_seconds');
  const merged = metric(registry, 'zl_host_deltas_merged_total').labels();
  const resumes = metric(registry, 'zl_host_resumes_total');
  const open = metric(registry, 'zl_host_streams_open').labels();
  const throttle = new LogThrottle(FAILURES_LOGGED_PER_MINUTE);
  const count = ({ method, error }: Omit<EndedRpc, 'seconds'>) => {
    requests.labels({ method, error_id: error?.id ?? 'none' }).inc();
    if (error === undefined) return;
    const fields = { method, error_id: error.id };
    // A defect is ours to fix; the client reads every other error.
    if (error.id === 'internal') {
      log.error({ ...fields, err: error }, 'an RPC failed on a defect');
      return;
    }
    const unlogged = throttle.take(error.id, performance.now());
    if (unlogged === undefined) return;
    log.info({ ...fields, ...(unlogged > 0 && { unlogged }) }, error.message);
  };
  return {
    opened: () => open.inc(),
    ended(rpc) {
      open.dec();
      durations.labels({ method: rpc.method }).observe(rpc.seconds);
      count(rpc);
    },
    refused: count,
    masked: maskedSecrets(registry),
    deltasMerged: (count) => merged.inc(count),
    resumed: (result) => resumes.labels({ result }).inc(),
  };
}
