// Tries to reach beyond its sandbox in every way that we know, and prints what it reached:
// node escape-attempts.ts '<Targets as JSON>'. It opens and connects, and changes nothing, because
// the test also runs it without a sandbox.
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

export interface Targets {
  /** Holds the word SECRET. */
  readonly key: string;
  /** Where the attacker may write; holds a link to the key. */
  readonly folder: string;
  readonly link: string;
  readonly sockets: readonly string[];
  readonly port: number;
  readonly pid: number;
  /** Writable to nobody but the bridge's user. */
  readonly guarded: string;
}

const targets: Targets = JSON.parse(process.argv[2] ?? '{}');
const { key, folder, link, sockets, port, pid, guarded } = targets;

function works(attempt: () => unknown): boolean {
  try {
    return attempt() !== false;
  } catch {
    return false;
  }
}

function linkAndRemove(path: string): void {
  linkSync(key, path);
  rmSync(path);
}

const holdsSecret = (path: string) => readFileSync(path, 'latin1').includes('SECRET');
const isWritable = (path: string) => closeSync(openSync(path, 'r+'));
const isDone = (command: string, ...args: string[]) =>
  spawnSync(command, args, { stdio: 'ignore', timeout: 5_000 }).status === 0;

const reaches = (options: { path: string } | { port: number; host: string }) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(options);
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    setTimeout(() => resolve(false), 2_000).unref();
  }).catch(() => false);

/** Processes that are none of ours, by their environment or root. */
function othersIn(what: 'environ' | 'root'): string[] {
  return readdirSync('/proc').filter(
    (name) =>
      /^\d+$/.test(name) &&
      works(() =>
        what === 'root'
          ? holdsSecret(`/proc/${name}/root${key}`)
          : readFileSync(`/proc/${name}/environ`, 'latin1').includes('SECRET'),
      ),
  );
}

const KERNEL_FILES = [
  '/proc/sys/kernel/core_pattern',
  '/proc/sys/kernel/modprobe',
  '/proc/sys/vm/drop_caches',
  '/proc/sysrq-trigger',
  '/sys/kernel/uevent_helper',
];

const reached: Record<string, boolean> = {
  'the key': works(() => holdsSecret(key)),
  'the key through a link': works(() => holdsSecret(link)),
  'the key through a hard link': works(() => linkAndRemove(join(folder, 'hard'))),
  "the key through another process's root": othersIn('root').length > 0,
  'a secret in an environment': othersIn('environ').length > 0,
  'a file that the bridge goes by': works(() => isWritable(guarded)),
  'a process outside': works(() => process.kill(pid, 0)),
  'a setting of the kernel': KERNEL_FILES.some((path) => works(() => isWritable(path))),
  'a namespace of its own': isDone('unshare', '-U', 'true'),
  'a capability': !/^CapEff:\s+0+$/m.test(readFileSync('/proc/self/status', 'utf8')),
  'a terminal': works(() => isWritable('/dev/tty')),
  'a descriptor of a file': readdirSync('/proc/self/fd').some((name) =>
    works(() => holdsSecret(readlinkSync(`/proc/self/fd/${name}`))),
  ),
  'a port of the device': await reaches({ port, host: '127.0.0.1' }),
};
for (const path of sockets) {
  reached[path.startsWith('\0') ? 'an abstract socket' : 'a socket'] = await reaches({ path });
}
const names = Object.keys(reached).filter((name) => reached[name]);
process.stdout.write(JSON.stringify(names));
process.exit(0);
