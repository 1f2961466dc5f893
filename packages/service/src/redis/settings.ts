import { readFile } from 'node:fs/promises';
import { resolveSecret, type SecretRef, type SecretSources } from '../config/secret.ts';
import { parseDurationMs } from '../config/units.ts';

/** As the configuration schemas describe it under `redis`. */
interface GivenRedis {
  readonly mode: 'single' | 'sentinel' | 'cluster';
  readonly nodes: readonly string[];
  readonly sentinelName: string;
  readonly username: string;
  readonly password?: SecretRef;
  readonly sentinelPassword?: SecretRef;
  readonly tls?: { readonly caFile: string };
  readonly commandTimeout: string;
}

export type RedisSettings = ReturnType<typeof compileRedis>;

export interface RedisSecrets {
  readonly password?: string;
  readonly sentinelPassword?: string;
  /** PEM. */
  readonly ca?: string;
}

export function compileRedis({ nodes, commandTimeout, ...redis }: GivenRedis) {
  return {
    ...redis,
    nodes: nodes.map(parseNode),
    commandTimeoutMs: parseDurationMs(commandTimeout),
  };
}

/** @throws ZlError config.invalid for a secret that is missing. */
export async function readRedisSecrets(
  { password, sentinelPassword, tls }: Pick<GivenRedis, 'password' | 'sentinelPassword' | 'tls'>,
  env: SecretSources['env'],
): Promise<RedisSecrets> {
  const sources = { env, readFile: (path: string) => readFile(path, 'utf8') };
  const read = (ref: SecretRef) => resolveSecret(ref, sources);
  return {
    ...(password !== undefined && { password: await read(password) }),
    ...(sentinelPassword !== undefined && { sentinelPassword: await read(sentinelPassword) }),
    ...(tls !== undefined && { ca: await readFile(tls.caFile, 'utf8') }),
  };
}

/** host:port, or [IPv6]:port. */
function parseNode(node: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(`tcp://${node}`);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}
