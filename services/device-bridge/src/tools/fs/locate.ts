import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  statfsSync,
} from 'node:fs';
import { platform } from 'node:os';

/** A file held by a descriptor, and the real path of that descriptor. */
export interface Located {
  /** Undefined when the file no longer has the name by which it was opened. */
  readonly realPath: string | undefined;
  /** A regular file of a disk, which can be read without waiting for anyone. */
  readonly isRegular: boolean;
  readonly size: number;
  /** How many names the file has. */
  readonly links: number;
  /** A descriptor for reading the same file; close() closes it too. */
  open(): number;
  close(): void;
}

interface Held {
  readonly descriptor: number;
  readonly realPath: string;
  readonly isOfKernel: boolean;
  open(): number;
}

/**
 * Holds the file that a path names now. Checks are made on what is held, so
 * that no rename or symlink between check and use can change the answer.
 */
export function locate(path: string): Located {
  const descriptors: number[] = [];
  const hold = (opened: string, flags: number): number => {
    const descriptor = openSync(opened, flags);
    descriptors.push(descriptor);
    return descriptor;
  };
  const close = () => {
    for (const descriptor of descriptors.splice(0)) closeSync(descriptor);
  };
  try {
    const { descriptor, realPath, isOfKernel, open } = holderOf(platform())(path, hold);
    const stats = fstatSync(descriptor, { bigint: true });
    return {
      realPath: isNamed(realPath, stats) ? realPath : undefined,
      isRegular: stats.isFile() && !isOfKernel,
      size: Number(stats.size),
      links: Number(stats.nlink),
      open,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

type Hold = (path: string, flags: number) => number;

function holderOf(system: NodeJS.Platform): (path: string, hold: Hold) => Held {
  switch (system) {
    case 'linux':
      return holdByProc;
    case 'darwin':
      return holdWithoutSymlinks;
    default:
      return holdByIdentity;
  }
}

// A FIFO or a device would otherwise wait for its other end, and a file for the holder of its lease.
const READ_AT_ONCE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
// Node has no name for it. The value is the same on every architecture with a Linux binary of Node.
const O_PATH = 0o10000000;

/** O_PATH holds a file without opening it, so that checking a FIFO or a device has no effect on it. */
function holdByProc(path: string, hold: Hold): Held {
  const descriptor = hold(path, O_PATH);
  const link = `/proc/self/fd/${descriptor}`;
  return {
    descriptor,
    realPath: readlinkSync(link),
    isOfKernel: KERNEL_FILE_SYSTEMS.has(statfsSync(link).type),
    open: () => hold(link, READ_AT_ONCE),
  };
}

/** Their regular files are code that runs when read, and may wait: proc, sysfs, debugfs, tracefs, cgroup. */
const KERNEL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0x9fa0, 0x62656572, 0x64626720, 0x74726163, 0x27e0eb, 0x63677270,
]);

// From <sys/fcntl.h> of macOS 11: no component of the path may be a symlink.
const O_NOFOLLOW_ANY = 0x20000000;

/** macOS has no /proc, but can open a resolved path on condition that it contains no symlink. */
function holdWithoutSymlinks(path: string, hold: Hold): Held {
  const realPath = realpathSync.native(path);
  const descriptor = hold(realPath, READ_AT_ONCE | O_NOFOLLOW_ANY);
  return { descriptor, realPath, isOfKernel: false, open: () => descriptor };
}

/**
 * The portable way: the descriptor must be the file that the resolved path names.
 * Whoever may rename directories inside the roots can still win a race between
 * the two checks, which is why it is the last resort.
 */
function holdByIdentity(path: string, hold: Hold): Held {
  const descriptor = hold(path, READ_AT_ONCE);
  const realPath = realpathSync.native(path);
  return { descriptor, realPath, isOfKernel: false, open: () => descriptor };
}

/** The kernel may report the path of a name that is gone, with or without a mark. */
function isNamed(realPath: string, { dev, ino }: BigIntStats): boolean {
  const named = lstatSync(realPath, { bigint: true, throwIfNoEntry: false });
  return named?.dev === dev && named.ino === ino;
}
