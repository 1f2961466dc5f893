import type { ManifestServer } from './manifest.ts';

/** Programs and libraries of the system, and the few settings that libraries read. */
export const SYSTEM_PATHS: readonly string[] = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/nix/store',
  '/gnu/store',
  ...[
    'alternatives',
    'ca-certificates',
    'crypto-policies',
    'group',
    'hosts',
    'ld.so.cache',
    'ld.so.conf',
    'ld.so.conf.d',
    'localtime',
    'nsswitch.conf',
    'passwd',
    'pki',
    'resolv.conf',
    'ssl/certs',
    'ssl/openssl.cnf',
    'timezone',
  ].map((name) => `/etc/${name}`),
];

/** Whether the path lies in the folder, or is it. */
export function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.replace(/\/*$/, '/'));
}

/** The paths in a program's arguments and environment that its sandbox does not show. */
export function pathsOutsideSandbox(server: ManifestServer): readonly string[] {
  if (server.sandbox === 'none' || 'builtin' in server) return [];
  const { command, args, env, cwd, files = [], folders = [], grants } = server;
  const { read = [], write = [] } = grants ?? {};
  const pinned = [...files, ...folders].map(({ path }) => path);
  const own = ['/proc', '/dev', ...(cwd === undefined ? [] : [cwd])];
  const shown = [...SYSTEM_PATHS, ...own, command, ...pinned, ...read, ...write];
  const named = [...args, ...Object.values(env.set)].map((text) => text.replace(/^--?[\w-]+=/, ''));
  return named.filter((path) => path.startsWith('/') && !shown.some((it) => isBelow(path, it)));
}
