import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';
import {
  type BuiltinServer,
  type CommandServer,
  fileDigest,
  folderDigest,
} from '@zerolatency/manifest';
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
    const { name, limits } = spec;
    if ('command' in spec) await checkFiles(spec);
    const program = 'command' in spec ? programOf(spec, environment) : builtinProgram(spec);
    try {
      const connection = await connectMcp({
        transport: { kind: 'stdio', ...program },
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

/** The built-in servers' programs: scripts in the source tree, or bundled beside the bridge. */
const BUILTIN_SCRIPTS = {
  fs: import.meta.url.endsWith('.ts') ? '../../tools/fs/fs-server.ts' : './fs-server.mjs',
} as const;

function builtinProgram({ builtin, settings }: BuiltinServer) {
  const { roots, maxReadBytes } = settings;
  const script = fileURLToPath(new URL(BUILTIN_SCRIPTS[builtin], import.meta.url));
  const args = ['--disable-warning=ExperimentalWarning', script];
  for (const root of roots) args.push('--root', root);
  if (maxReadBytes !== undefined) args.push('--max-bytes', `${maxReadBytes}`);
  return { command: process.execPath, args, env: {} };
}

function programOf({ command, args, cwd, env }: CommandServer, own: LauncherDeps['environment']) {
  const allowed = env.allow.flatMap((name) => {
    const value = own[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { command, args, cwd, env: { ...Object.fromEntries(allowed), ...env.set } };
}

/**
 * Checks before each start that files and folders are the signed ones. Whoever can
 * replace them between this check and the start is the bridge's own user or its
 * administrator, and this does not protect against them.
 */
async function checkFiles(server: CommandServer): Promise<void> {
  const { name, command, sha256, files = [], folders = [] } = server;
  await Promise.all([
    ...[{ path: command, sha256 }, ...files].map((file) => check(name, file, fileDigest)),
    ...folders.map((folder) => check(name, folder, folderDigest)),
  ]);
}

async function check(
  name: string,
  pinned: { readonly path: string; readonly sha256: string },
  digest: (path: string) => Promise<string>,
): Promise<void> {
  const sha256 = await digest(pinned.path).catch((cause: unknown) => {
    if (cause instanceof ZlError) throw cause;
    throw new ZlError('manifest.invalid', `${name}: cannot read ${pinned.path}`, { cause });
  });
  if (sha256 === pinned.sha256) return;
  throw new ZlError('manifest.invalid', `${name}: ${pinned.path} is not as it was signed`);
}

function definedOf(limits: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const defined: Record<string, number> = {};
  for (const [name, value] of Object.entries(limits)) {
    if (value !== undefined) defined[name] = value;
  }
  return defined;
}
