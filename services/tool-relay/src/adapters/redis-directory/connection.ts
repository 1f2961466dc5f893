import { ZlError } from '@zerolatency/errors';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { RedisSettings } from '../../config.ts';
import type { Script } from './scripts.ts';

export interface RedisSecrets {
  readonly password?: string;
  readonly sentinelPassword?: string;
  /** PEM. */
  readonly ca?: string;
}

/** Redis as the directory uses it: scripts, and the connection's state. */
export interface ScriptRunner {
  /** Settles with the first try. */
  readonly firstTry: Promise<void>;
  /** Fails within the command timeout, and at once while disconnected. */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown>;
  /** For a connection that does not answer. */
  reconnect(): void;
  close(): void;
}

export interface ConnectionEvents {
  onReady(): void;
  onError(error: unknown): void;
}

const RETRY_MIN_MS = 50;
/** Devices and hosts wait for the leases to be back, so Redis is asked often. */
const RETRY_MAX_MS = 1000;
/** A failover of a Cluster moves a command once or twice. */
const MAX_REDIRECTIONS = 3;
const SLOTS_REFRESH_MS = 5000;

export function connectRedis(
  settings: RedisSettings,
  secrets: RedisSecrets,
  events: ConnectionEvents,
): ScriptRunner {
  const client =
    settings.mode === 'cluster' ? openCluster(settings, secrets) : openSingle(settings, secrets);
  client.on('ready', () => events.onReady());
  // An event without a listener would be printed. The failed commands say the same.
  client.on('error', (error: unknown) => events.onError(error));
  const firstTry = within(settings.commandTimeoutMs, client.connect());
  // The store waits for it, or asks later.
  firstTry.catch(() => {});
  return {
    firstTry,
    run: (script, keys, args) =>
      within(settings.commandTimeoutMs, evaluate(client, script, keys, args)),
    reconnect: () => client.disconnect(true),
    close: () => client.disconnect(),
  };
}

function openSingle(settings: RedisSettings, secrets: RedisSecrets): Redis {
  const [node] = settings.nodes;
  const retryStrategy = retryDelayMs;
  const options = { ...optionsOf(settings, secrets), retryStrategy, enableOfflineQueue: false };
  if (settings.mode === 'single') return new Redis({ ...options, ...node });
  const { sentinelPassword, ca } = secrets;
  return new Redis({
    ...options,
    sentinels: [...settings.nodes],
    name: settings.sentinelName,
    sentinelRetryStrategy: retryDelayMs,
    sentinelCommandTimeout: settings.commandTimeoutMs,
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(ca !== undefined && { enableTLSForSentinelMode: true, sentinelTLS: { ca } }),
  });
}

function openCluster(settings: RedisSettings, secrets: RedisSecrets): Cluster {
  return new Cluster([...settings.nodes], {
    redisOptions: optionsOf(settings, secrets),
    clusterRetryStrategy: retryDelayMs,
    slotsRefreshTimeout: settings.commandTimeoutMs,
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    maxRedirections: MAX_REDIRECTIONS,
    enableOfflineQueue: false,
    lazyConnect: true,
  });
}

function optionsOf(settings: RedisSettings, { password, ca }: RedisSecrets) {
  const { username, commandTimeoutMs } = settings;
  return {
    protocol: 2,
    lazyConnect: true,
    connectTimeout: commandTimeoutMs,
    // A server that hangs in the greeting would never be left: commands are not sent before it.
    socketTimeout: 2 * commandTimeoutMs,
    // What was in flight has failed: a lease that arrives late would belong to a socket that is gone.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // The server was demoted; the next connection finds the new one.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    ...(username !== '' && { username }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { tls: { ca } }),
  } satisfies RedisOptions;
}

function retryDelayMs(attempt: number): number {
  const delayMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(attempt, 10));
  return delayMs * (0.5 + Math.random() / 2);
}

/** By digest, because the text is longer than the answer; a server that lacks it is given the text. */
async function evaluate(
  client: Redis | Cluster,
  { lua, sha1 }: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await client.evalsha(sha1, keys.length, ...keys, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return await client.eval(lua, keys.length, ...keys, ...args);
  }
}

async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      late.reject(new ZlError('directory.degraded', `Redis did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
