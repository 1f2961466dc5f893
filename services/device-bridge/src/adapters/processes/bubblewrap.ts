import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { access, constants, lstat, readlink, realpath } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ZlError } from '@zerolatency/errors';
import { isBelow, SYSTEM_PATHS } from '@zerolatency/manifest';
import { killGroup } from '@zerolatency/mcp';
import type { Program, Reach } from '../../sandbox/containment.ts';

const run = promisify(execFile);

/** What programs read of /dev is given by --dev. */
const SHARED_MEMORY = '/dev/shm';
const PROBE_TIMEOUT_MS = 5_000;
/** A chain of links longer than this is a loop. */
const MAX_LINKS = 40;

/** The absolute path of bubblewrap; or why it cannot make a sandbox here. */
export async function findBubblewrap(
  searchPath: string,
): Promise<{ readonly path: string } | { readonly why: string }> {
  const path = await firstExecutable(searchPath.split(delimiter).map((dir) => join(dir, 'bwrap')));
  if (path === undefined) return { why: 'bubblewrap is not installed (apt install bubblewrap)' };
  const nothing = { readable: [], writable: [], pinned: [], hasNetwork: false };
  const reach = { ...nothing, maxMemoryBytes: 2 ** 26, maxProcesses: 8 };
  const program = { command: '/bin/sh', args: ['-c', ':'], env: {}, code: [] };
  try {
    await run(path, await bubblewrapArgs(program, reach, []), {
      env: {},
      timeout: PROBE_TIMEOUT_MS,
    });
    return { path };
  } catch (reason) {
    const said = reason instanceof Error && 'stderr' in reason ? String(reason.stderr) : '';
    return { why: said.trim() || `${path} cannot make a sandbox: ${String(reason)}` };
  }
}

async function firstExecutable(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere && path.startsWith('/')) return path;
  }
  return undefined;
}

/** The arguments that start the program with nothing but its reach; `hidden` wins over it. */
export async function bubblewrapArgs(
  { command, args, cwd }: Program,
  reach: Reach,
  hidden: readonly string[],
): Promise<string[]> {
  const { hasNetwork, maxMemoryBytes, maxProcesses } = reach;
  const size = ['--size', `${maxMemoryBytes}`, '--tmpfs'];
  return [
    // The parent's death ends process 1 of the PID namespace, and so all that is in it.
    ...['--die-with-parent', '--new-session', '--cap-drop', 'ALL'],
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts'],
    '--unshare-cgroup-try',
    // As root of a namespace of its own a process could reach more of the kernel.
    '--disable-userns',
    ...(hasNetwork ? [] : ['--unshare-net']),
    ...(await mountArgs(reach, size)),
    ...(await hiddenArgs(hidden, reach)),
    // The kernel lets root change the machine's settings in /proc/sys, also without capabilities.
    ...['--remount-ro', '/proc'],
    // Else the folders that hold the mounts would be memory without a bound.
    ...['--remount-ro', '/dev', ...size, SHARED_MEMORY, '--remount-ro', '/'],
    ...['--chdir', cwd ?? '/'],
    '--',
    // Inside, since the count of processes is then that of the sandbox's own namespace.
    ...['/usr/bin/prlimit', `--nproc=${maxProcesses}`, `--data=${maxMemoryBytes}`, '--core=0'],
    ...['--', command, ...args],
  ];
}

/** Asks the program to end. A SIGTERM to bubblewrap itself would kill all of the sandbox at once. */
export function terminateSandbox(bubblewrapPid: number): void {
  // Process 1 leads the program's group, and ignores the signal.
  for (const init of childrenOf(bubblewrapPid)) killGroup(init, 'SIGTERM');
}

function childrenOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return children.trim().split(' ').filter(Boolean).map(Number);
  } catch {
    // It has ended; or the kernel lists no children, and SIGKILL comes in a moment.
    return [];
  }
}

/** Outer folders first, because a later mount covers what lies below it. */
async function mountArgs(reach: Reach, size: readonly string[]): Promise<string[]> {
  const mounts = new Map([['/tmp', [...size, '/tmp']]]);
  const links = new Map<string, string>();
  const writable = await Promise.all(reach.writable.map(realOf));
  const bound = new Set<string>();
  const bind = async (how: string, paths: readonly string[]) => {
    for (const path of paths) {
      const real = await followLinks(path, { links, writable });
      bound.add(real);
      mounts.set(real, [`--${how}-try`, real, real]);
    }
  };
  await bind('ro-bind', SYSTEM_PATHS);
  mounts.set('/proc', ['--proc', '/proc']);
  mounts.set('/dev', ['--dev', '/dev']);
  await bind('ro-bind', reach.readable);
  await bind('bind', reach.writable);
  await bind('ro-bind', reach.pinned);
  const isBound = (path: string) => [...bound].some((folder) => isBelow(path, folder));
  return [
    ...[...mounts].toSorted(([a], [b]) => depthOf(a) - depthOf(b)).flatMap(([, args]) => args),
    // A link inside a mount is there already.
    ...[...links].flatMap(([path, to]) => (isBound(path) ? [] : ['--symlink', to, path])),
  ];
}

const depthOf = (path: string) => path.split('/').filter((part) => part !== '').length;

/**
 * The path without links, and the links on the way: in the sandbox every real path must be the
 * one outside, because policy decides by it.
 */
async function followLinks(
  path: string,
  { links, writable }: { links: Map<string, string>; writable: readonly string[] },
): Promise<string> {
  let real = resolve(path);
  for (let followed = 0; followed < MAX_LINKS; followed++) {
    const link = await firstLink(real);
    if (link === undefined) return real;
    if (writable.some((folder) => isBelow(link.path, folder))) {
      const why = `${link.path} is a link in a folder that the server may write to`;
      throw new ZlError('manifest.invalid', `${why}, so it could lead anywhere`);
    }
    links.set(link.path, link.to);
    real = resolve(dirname(link.path), link.to) + real.slice(link.path.length);
  }
  return real;
}

async function firstLink(path: string) {
  const parts = path.split('/');
  for (let end = 2; end <= parts.length; end++) {
    const prefix = parts.slice(0, end).join('/');
    const stats = await lstat(prefix).catch(() => undefined);
    if (stats?.isSymbolicLink()) return { path: prefix, to: await readlink(prefix) };
  }
  return undefined;
}

/**
 * Masks each path that lies in what can be reached. A file goes with its folder: whoever replaces
 * the file by renaming another over it takes a mask of the file away.
 */
async function hiddenArgs(
  paths: readonly string[],
  { readable, writable, pinned }: Reach,
): Promise<string[]> {
  const reached = await Promise.all(
    [...SYSTEM_PATHS, ...readable, ...writable, ...pinned].map(realOf),
  );
  const args: string[] = [];
  for (const path of await Promise.all(paths.map(realOf))) {
    const stats = await lstat(path).catch(() => undefined);
    if (stats === undefined || !reached.some((folder) => isBelow(path, folder))) continue;
    const masked = stats.isDirectory() ? path : dirname(path);
    if (reached.includes(masked)) {
      const why = `${masked} directly holds a file of the bridge`;
      throw new ZlError('manifest.invalid', `${why}; grant other folders, or move the file`);
    }
    args.push('--tmpfs', masked, '--remount-ro', masked);
  }
  return args;
}

/** The path without links; as given when there is nothing. */
export const realOf = (path: string) => realpath(path).catch(() => path);
