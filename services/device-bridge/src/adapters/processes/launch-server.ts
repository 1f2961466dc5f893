import { fileURLToPath } from 'node:url';
import { ZlError } from '@zerolatency/errors';
import {
  type BuiltinServer,
  type CommandServer,
  fileDigest,
  folderDigest,
  unpinnedCode,
} from '@zerolatency/manifest';
import { connectMcp } from '@zerolatency/mcp';
import type { Log } from '../../ports.ts';
import type { Program } from '../../sandbox/containment.ts';
import type { Launch } from '../../servers/managed-server.ts';
import type { Containments } from './containments.ts';
import type { Leftovers } from './leftovers.ts';

interface LauncherDeps {
  /** The bridge's own environment, of which a server gets what the manifest allows. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** The largest result of a call that the device allows, as canonical JSON. */
  readonly maxResultBytes: number;
  readonly containments: Pick<Containments, 'contain'>;
  readonly leftovers: Pick<Leftovers, 'started' | 'ended'>;
  readonly log: Pick<Log, 'debug' | 'warn'>;
}

/** JSON may escape what canonical JSON holds as it is: six characters for two bytes of UTF-8. */
const ESCAPED_BYTES_PER_BYTE = 3;
/** The message around a result, and a list of tools where results are small. */
const MIN_LINE_BYTES = 8 * 1024 * 1024;

/** Starts servers as child processes, from the signed files and with what the manifest gives them. */
export function serverLauncher(deps: LauncherDeps): Launch {
  const { environment, version, containments, leftovers, log } = deps;
  const longestLineBytes = MIN_LINE_BYTES + ESCAPED_BYTES_PER_BYTE * deps.maxResultBytes;
  return async (spec, { onStderr, onToolsChanged, signal, kill }) => {
    const { name, limits } = spec;
    if ('command' in spec) await checkFiles(spec);
    const program = 'command' in spec ? programOf(spec, environment) : builtinProgram(spec);
    const containment = await containments.contain(spec, program);
    try {
      const connection = await connectMcp({
        transport: { kind: 'stdio', ...containment.program },
        client: { name: 'zerolatency-device-bridge', version },
        limits: definedOf({
          maxLineBytes: limits?.maxLineBytes ?? longestLineBytes,
          startTimeoutMs: limits?.startTimeoutMs,
        }),
        onStderr: (line) => {
          onStderr(line);
          log.debug({ server: name, line }, 'server stderr');
        },
        onSpawn: (pid) => leftovers.started(name, pid),
        onExit: () =>
          containment.end().catch((error: unknown) => {
            log.warn({ server: name, err: error }, 'processes of the server are left');
          }),
        onBadLine: () => log.warn({ server: name }, 'the server printed a line that is not MCP'),
        onToolsChanged,
        signal,
        kill,
      });
      void connection.closed.then(() => leftovers.ended(name));
      return { connection, containment: containment.kind };
    } catch (error) {
      leftovers.ended(name);
      throw error;
    }
  };
}

const IS_BUNDLED = !import.meta.url.endsWith('.ts');
/** The built-in servers' programs: scripts in the source tree, or bundled beside the bridge. */
const BUILTIN_SCRIPTS = {
  fs: IS_BUNDLED ? './fs-server.mjs' : '../../tools/fs/fs-server.ts',
} as const;
/** What these scripts import. */
const BUILTIN_CODE = IS_BUNDLED
  ? ['.']
  : ['../..', '../../../../../packages', '../../../../../contracts', '../../../../../node_modules'];

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url)).replace(/\/$/, '');

/** What the bridge and its own servers run from. */
export const OWN_CODE: readonly string[] = [process.execPath, ...BUILTIN_CODE.map(here)];

function builtinProgram({ builtin, settings }: BuiltinServer): Program {
  const { roots, maxReadBytes } = settings;
  const args = ['--disable-warning=ExperimentalWarning', here(BUILTIN_SCRIPTS[builtin])];
  for (const root of roots) args.push('--root', root);
  if (maxReadBytes !== undefined) args.push('--max-bytes', `${maxReadBytes}`);
  return { command: process.execPath, args, env: {}, code: BUILTIN_CODE.map(here) };
}

function programOf(server: CommandServer, own: LauncherDeps['environment']): Program {
  const { command, args, cwd, env, files = [], folders = [] } = server;
  const allowed = env.allow.flatMap((name) => {
    const value = own[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    command,
    args,
    cwd,
    env: { ...Object.fromEntries(allowed), ...env.set },
    code: [...files, ...folders].map(({ path }) => path),
  };
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
  const loose = server.unpinned ? undefined : await unpinnedCode(server);
  if (loose === undefined) return;
  const remedy = 'pin its folder in `folders`, or set `unpinned`';
  throw new ZlError('manifest.invalid', `${name}: ${loose} is in no pinned folder: ${remedy}`);
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
