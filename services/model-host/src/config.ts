import { isIP } from 'node:net';
import { ZlError } from '@zerolatency/errors';
import {
  type ConfigSources,
  configDigest,
  describeConfig,
  type JsonSchema,
  loadConfig,
  parseBytes,
  parseDurationMs,
} from '@zerolatency/service/config';
import { compileRedis } from '@zerolatency/service/redis';
import type { TlsFiles } from '@zerolatency/service/tls';
import schema from '../../../contracts/config/model-host.schema.json' with { type: 'json' };
import type { HostSettings } from '../../../contracts/gen/model-host.d.ts';
import { compileIdentity } from './identity-settings.ts';
import type { QuotaTable } from './limits/rules.ts';
import type { ModelTable } from './providers/models.ts';
import { MAX_BEHIND_BYTES } from './turn/turn-log.ts';

const configSchema: JsonSchema = schema;
/** Names the configuration file, so it is not a setting. */
export const CONFIG_FILE_ENV = 'ZL_HOST_CONFIG';

/** models.tableFile, which has no defaults of its own. */
const tableSchema: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['default', 'aliases'],
  properties: {
    default: { type: 'string', minLength: 1 },
    aliases: { type: 'object', additionalProperties: { $ref: '#/$defs/model' } },
    tenants: schema.properties.models.properties.tenants,
  },
  $defs: schema.$defs,
};

/** @throws config.invalid that names every mistake with its line. */
export function readModelTable(text: string): ModelTable {
  const spec = { schema: tableSchema, envPrefix: 'ZL_HOST_MODELS' };
  return loadConfig<ModelTable>(spec, { file: { path: 'line', text }, env: {} });
}

/** What the service runs on: units in names, and nothing left to interpret. */
export type HostConfig = ReturnType<typeof compile>;

/** @throws ZlError config.invalid that names every setting that is wrong. */
export function readHostConfig(sources: ConfigSources): HostConfig {
  const spec = { schema: configSchema, envPrefix: 'ZL_HOST', otherEnv: [CONFIG_FILE_ENV] };
  return compile(loadConfig<HostSettings>(spec, sources));
}

function compile(settings: HostSettings) {
  const { rpc, identity, turn, turnLog, tools, limits, redis, relay, ...more } = settings;
  const { drain, providers, secrets, postgres, ledger: _, ...rest } = more;
  const { handshake, idle, stalled, ...connections } = rpc.connections;
  const { timeout: turnTimeout, maxToolResult, maxCost, ...guardrails } = turn;
  return {
    ...rest,
    digest: configDigest(settings),
    /** For people, secrets masked. */
    printable: describeConfig(settings, configSchema),
    rpc: {
      host: rpc.host,
      port: rpc.port,
      tls: rpcTls(settings),
      origins: rpc.cors.origins,
      connections: {
        ...connections,
        handshakeMs: parseDurationMs(handshake),
        idleMs: parseDurationMs(idle),
        stalledMs: parseDurationMs(stalled),
      },
    },
    identity: compileIdentity(identity),
    turn: {
      ...guardrails,
      timeoutMs: parseDurationMs(turnTimeout),
      maxCostNanoUsd: maxCost === undefined ? Number.POSITIVE_INFINITY : Math.round(maxCost * 1e9),
      maxToolResultBytes: parseBytes(maxToolResult),
    },
    turnLog: compileTurnLog(turnLog),
    providers: {
      mock: providers.mock,
      pricesFile: providers.pricesFile,
      retries: {
        rounds: providers.retries.rounds,
        maxWaitMs: parseDurationMs(providers.retries.maxWait),
      },
      breaker: {
        openForMs: parseDurationMs(providers.breaker.openFor),
        maxOpenForMs: parseDurationMs(providers.breaker.maxOpenFor),
      },
      tenantKeysFile: providers.tenantKeysFile,
      vendors: Object.entries(providers.vendors).map(([name, vendor]) =>
        compileVendor(name, vendor),
      ),
    },
    /** Undefined for a pod that is alone. */
    redis: redis && compileRedis(redis),
    secrets: { vault: secrets?.vault && compileVault(secrets.vault) },
    relay: compileRelay(relay),
    postgres: compilePostgres(postgres),
    ledger: compileLedger(settings),
    tools: {
      contractsDir: tools.contractsDir,
      timeoutMs: parseDurationMs(tools.timeout),
      maxResultBytes: parseBytes(tools.maxResult),
      callsPerTurn: tools.callsPerTurn,
    },
    limits: {
      tenants: compileQuotas(limits.tenants),
      users: compileQuotas(limits.users),
      pods: limits.pods,
      redisTimeoutMs: parseDurationMs(limits.redisTimeout),
      queue: { ...limits.queue, maxWaitMs: parseDurationMs(limits.queue.maxWait) },
      turns: {
        Pod: limits.turnsPerPod,
        Tenant: limits.turnsPerTenant,
        User: limits.turnsPerUser,
      },
      streams: {
        Pod: limits.streamsPerPod,
        Tenant: limits.streamsPerTenant,
        User: limits.streamsPerUser,
      },
    },
    agents: compileAgents(settings),
    drain: { deadlineMs: parseDurationMs(drain.deadline) },
  };
}

function compileTurnLog(turnLog: HostSettings['turnLog']) {
  return {
    windowMs: parseDurationMs(turnLog.window),
    turn: {
      maxBehindBytes: MAX_BEHIND_BYTES,
      windowBytes: parseBytes(turnLog.maxBytes),
      windowEvents: turnLog.maxEvents,
    },
    maxBytesPerTenant: parseBytes(turnLog.maxBytesPerTenant),
    maxBytesPerPod: parseBytes(turnLog.maxBytesPerPod),
    sealing: turnLog.sealing,
  };
}

function compileAgents({ agents, turn, models }: HostSettings) {
  return Object.entries(agents).map(([name, agent]) => {
    if (agent.model !== '' && models.aliases[agent.model] === undefined) {
      const why = `"${agent.model}" is not an alias of models.aliases`;
      throw new ZlError('config.invalid', `agents.${name}.model: ${why}`);
    }
    if (agent.tools.length > 0 && turn.maxToolDepth < 2) {
      const why = `turn.maxToolDepth is ${turn.maxToolDepth}; calls of an agent need 2 or more`;
      throw new ZlError('config.invalid', `agents.${name}.tools: ${why}`);
    }
    return { name, ...agent };
  });
}

type QuotaSettings = HostSettings['limits']['tenants'][string];

function compileQuotas(quotas: Readonly<Record<string, QuotaSettings>>): QuotaTable {
  const compile = ({ turns, ...rates }: QuotaSettings) => ({
    turns,
    ...Object.fromEntries(Object.entries(rates).map(([name, rate]) => [name, compileRate(rate)])),
  });
  return Object.fromEntries(Object.entries(quotas).map(([name, quota]) => [name, compile(quota)]));
}

function compileRate({ amount, per, burst = amount }: NonNullable<QuotaSettings['requests']>) {
  return { amount, per, perMs: parseDurationMs(per), burst };
}

/** Without TLS it is cleartext on loopback. */
function rpcTls({ rpc, identity }: HostSettings): TlsFiles | undefined {
  const { host, cleartext, tls } = rpc;
  if (!cleartext) {
    if (tls !== undefined) return tls;
    throw new ZlError('config.invalid', 'rpc.tls is missing; rpc.cleartext is for loopback only');
  }
  if (identity.certificates.length > 0) {
    throw new ZlError(
      'config.invalid',
      'identity.certificates needs rpc.tls; rpc.cleartext has none',
    );
  }
  if (tls !== undefined) {
    throw new ZlError('config.invalid', 'rpc.cleartext and rpc.tls exclude each other');
  }
  if (!isLoopback(host)) {
    throw new ZlError(
      'config.invalid',
      `rpc.cleartext is refused on ${host}, which is not a loopback address`,
    );
  }
  return undefined;
}

// A name may resolve to anything, so only addresses and localhost itself count.
function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/** Here and not in the schema, which may refuse nothing that release 0.1.0 accepted. */
const DNS_URL = /^dns:\/\/[^/]*\/[^/:]+:[0-9]+$/;

/** Undefined when no relay is named: chats without tools. */
function compileRelay(relay: HostSettings['relay']) {
  const { urls, tls, deviceKeysFile, revocations } = relay;
  if (urls.length === 0) return undefined;
  if (tls === undefined)
    throw new ZlError('config.invalid', 'relay.tls is missing; links need a client certificate');
  if (deviceKeysFile === '') throw new ZlError('config.invalid', 'relay.deviceKeysFile is missing');
  const odd = urls.find((url) => url.startsWith('dns:') && !DNS_URL.test(url));
  if (odd !== undefined) {
    throw new ZlError('config.invalid', `relay.urls: ${odd} is not dns:///<name>:<port>`);
  }
  return { urls, tls, deviceKeysFile, revocations };
}

type VendorSettings = HostSettings['providers']['vendors'][string];

function compileVendor(name: string, vendor: VendorSettings) {
  const { type, baseUrl, key, connections, firstByteTimeout, idleTimeout, ...rest } = vendor;
  const wrong = wrongVendor(name, vendor);
  if (wrong !== undefined)
    throw new ZlError('config.invalid', `providers.vendors.${name}.${wrong}`);
  const bounds = {
    connections,
    firstByteMs: parseDurationMs(firstByteTimeout),
    idleMs: parseDurationMs(idleTimeout),
    totalMs: parseDurationMs(rest.timeout),
    maxReplyBytes: parseBytes(rest.maxReply),
  };
  return { name, type, baseUrl, key, bounds };
}

function wrongVendor(name: string, { type, baseUrl, key }: VendorSettings): string | undefined {
  if (name === 'mock') return 'type: the name mock belongs to the scripted provider';
  if (type === 'openai-compatible') {
    if (baseUrl === undefined) return 'baseUrl is missing; it says where the server is';
  } else if (key === undefined) return `key is missing; ${type} answers nobody without one`;
  if (baseUrl === undefined || key === undefined || baseUrl.startsWith('https:')) return undefined;
  const { hostname } = new URL(baseUrl);
  if (isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))) return undefined;
  return `baseUrl would send the key to ${hostname} in clear text; use https`;
}

type VaultSettings = NonNullable<NonNullable<HostSettings['secrets']>['vault']>;

function compileVault({ timeout, refresh, ...rest }: VaultSettings) {
  return { ...rest, timeoutMs: parseDurationMs(timeout), refreshMs: parseDurationMs(refresh) };
}

function compilePostgres(postgres: HostSettings['postgres']) {
  if (postgres === undefined) return undefined;
  const { connectTimeout, statementTimeout, ...rest } = postgres;
  return {
    ...rest,
    connectTimeoutMs: parseDurationMs(connectTimeout),
    statementTimeoutMs: parseDurationMs(statementTimeout),
  };
}

function compileLedger({ ledger, postgres }: HostSettings) {
  const { dir = '', ...rest } = ledger;
  const isInFiles = ledger.engine === 'files';
  if (isInFiles && dir === '') throw new ZlError('config.invalid', 'ledger.dir is missing');
  if (!isInFiles && (dir !== '' || ledger.stateFile !== '')) {
    const which = dir === '' ? 'ledger.stateFile' : 'ledger.dir';
    throw new ZlError('config.invalid', `${which} is for ledger.engine files only`);
  }
  if (!isInFiles && postgres === undefined) {
    throw new ZlError('config.invalid', 'ledger.engine postgres needs the settings of postgres');
  }
  return { ...rest, dir, export: compileExport(ledger.export) };
}

/** Undefined when checkpoints stay beside the ledger. */
function compileExport({ to, every, caFile }: HostSettings['ledger']['export']) {
  if (to === '') return undefined;
  if (/^(?!https:)[a-z]+:\/\//i.test(to)) {
    throw new ZlError('config.invalid', 'ledger.export.to is neither a folder nor an https:// URL');
  }
  return { to, everyMs: parseDurationMs(every), caFile };
}
