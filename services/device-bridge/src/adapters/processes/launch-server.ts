import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { ZlError } from '@zerolatency/errors';
import type { ManifestServer } from '@zerolatency/manifest';
import { connectMcp } from '@zerolatency/mcp';
import type { Log } from '../../ports.ts';
import type { Launch } from '../../servers/managed-server.ts';
import type { Leftovers } from './leftovers.ts';

interface LauncherDeps {
  /** The bridge's own environment, of which a server gets what the manifest allows. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly leftovers: Pick<Leftovers, 'started' | 'ended'>;
  readonly log: Pick<Log, 'debug' | 'warn'>;
}

/** Starts servers as child processes, from the signed files and with what the manifest gives them. */
export function serverLauncher({ environment, version, leftovers, log }: LauncherDeps): Launch {
  return async (spec, { onToolsChanged, signal, kill }) => {
    const { name, command, args, cwd, limits } = spec;
    await checkFiles(spec);
    try {
      const connection = await connectMcp({
        transport: { kind: 'stdio', command, args, cwd, env: environmentOf(spec, environment) },
        client: { name: 'zerolatency-device-bridge', version },
        limits: definedOf({
          maxLineBytes: limits?.maxLineBytes,
          startTimeoutMs: limits?.startTimeoutMs,
        }),
        onStderr: (line) => log.debug({ server: name, line }, 'server stderr'),
        onSpawn: (pid) => leftovers.started(name, pid),
        onBadLine: () => log.warn({ server: name }, 'the server printed a line that is not MCP'),
        onToolsChanged,
        signal,
        kill,
      });
      void connection.closed.then(() => leftovers.ended(name));
      return connection;
    } catch (error) {
      leftovers.ended(name);
      throw error;
    }
  };
}

/**
 * Checks before each start that the files are the signed ones. Whoever can replace
 * them between this check and the start is the bridge's own user or its
 * administrator, and this does not protect against them.
 */
async function checkFiles({ name, command, sha256, files = [] }: ManifestServer): Promise<void> {
  await Promise.all([{ path: command, sha256 }, ...files].map((file) => checkFile(name, file)));
}

async function checkFile(name: string, file: { path: string; sha256: string }): Promise<void> {
  const sha256 = await hashFile(file.path).catch((cause: unknown) => {
    throw new ZlError('manifest.invalid', `${name}: cannot read ${file.path}`, { cause });
  });
  if (sha256 === file.sha256) return;
  throw new ZlError('manifest.invalid', `${name}: ${file.path} is not the file that was signed`);
}

/** Reads a stream: an interpreter has a hundred megabytes. */
async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk);
  }
  return hash.digest('hex');
}

/** The whole environment of a server: the allowed part of the bridge's own, and what is set. */
function environmentOf(
  { env }: Pick<ManifestServer, 'env'>,
  own: LauncherDeps['environment'],
): Record<string, string> {
  const allowed = env.allow.flatMap((name) => {
    const value = own[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(allowed), ...env.set };
}

function definedOf(limits: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const defined: Record<string, number> = {};
  for (const [name, value] of Object.entries(limits)) {
    if (value !== undefined) defined[name] = value;
  }
  return defined;
}
