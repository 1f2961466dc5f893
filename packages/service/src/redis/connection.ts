import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { Script } from './script.ts';
import type { RedisSecrets, RedisSettings } from './settings.ts';

/** Redis as its users see it: scripts, and the connection's state. */
export interface ScriptRunner {
  /** Settles with the first try. */
  readonly firstTry: Promise<void>;
  /** Why the connection is missing; the error of an unsent command does not say. */
  readonly fault: string | undefined;
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

const RETRY_MIN_MS = 50;
/** Others wait for what is in Redis to be back, so it is asked often. */
const RETRY_MAX_MS = 1000;
/** A failover of a Cluster moves a command once or twice. */
const MAX_REDIRECTIONS = 3;
const SLOTS_REFRESH_MS = 5000;

/** Connects again by itself until it is closed; `onReady` is called each time it has. */
export function connectRedis(
  settings: RedisSettings,
  secrets: RedisSecrets,
  onReady?: () => void,
): ScriptRunner {
  const client =
    settings.mode === 'cluster' ? openCluster(settings, secrets) : openSingle(settings, secrets);
  let fault: string | undefined = 'not connected yet';
  client.on('ready', () => {
    fault = undefined;
    onReady?.();
  });
  // An event without a listener would be printed. The failed commands say the same.
  client.on('error', (error: unknown) => {
    fault = error instanceof Error ? error.message : String(error);
  });
  const firstTry = within(settings.commandTimeoutMs, client.connect());
  // Its users wait for it, or ask later.
  firstTry.catch(() => {});
  return {
    firstTry,
    get fault() {
      return fault;
    },
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
    // What was in flight has failed, and its user went on without it: nothing may arrive late.
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
    () => late.reject(new Error(`Redis did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
