import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { platform } from 'node:os';

/** A file held by a descriptor, and the real path of that descriptor. */
export interface Located {
  readonly realPath: string;
  readonly stats: Stats;
  /** A descriptor for reading the same file; close() closes it too. */
  open(): number;
  close(): void;
}

/**
 * Holds the file that a path names now. Checks are made on what is held, so
 * that no rename or symlink between check and use can change the answer.
 */
export function locate(path: string): Located {
  switch (platform()) {
    case 'linux':
      return locateByProc(path);
    case 'darwin':
      return locateWithoutSymlinks(path);
    default:
      return locateByIdentity(path);
  }
}

// Node has no name for it. The value is the same on every architecture with a Linux binary of Node.
const O_PATH = 0o10000000;

/** O_PATH holds a file without opening it, so that checking a FIFO or a device has no effect on it. */
function locateByProc(path: string): Located {
  const held = openSync(path, O_PATH);
  try {
    const link = `/proc/self/fd/${held}`;
    const realPath = readlinkSync(link);
    return located(realPath, [held], () => openSync(link, constants.O_RDONLY));
  } catch (error) {
    closeSync(held);
    throw error;
  }
}

// From <sys/fcntl.h> of macOS 11: no component of the path may be a symlink.
const O_NOFOLLOW_ANY = 0x20000000;

/** macOS has no /proc, but can open a resolved path on condition that it contains no symlink. */
function locateWithoutSymlinks(path: string): Located {
  const realPath = realpathSync(path);
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | O_NOFOLLOW_ANY;
  const held = openSync(realPath, flags);
  return located(realPath, [held], () => held);
}

/**
 * The portable way: the descriptor must be the file that the resolved path names.
 * Whoever may rename directories inside the roots can still win a race between
 * the two checks, which is why it is the last resort.
 */
function locateByIdentity(path: string): Located {
  const held = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const realPath = realpathSync(path);
    const named = statSync(realPath, { bigint: true });
    const opened = fstatSync(held, { bigint: true });
    const same = named.dev === opened.dev && named.ino === opened.ino;
    return located(same ? realPath : '', [held], () => held);
  } catch (error) {
    closeSync(held);
    throw error;
  }
}

function located(realPath: string, descriptors: number[], openHeld: () => number): Located {
  return {
    realPath,
    stats: fstatSync(descriptors[0] ?? -1),
    open() {
      const descriptor = openHeld();
      if (!descriptors.includes(descriptor)) descriptors.push(descriptor);
      return descriptor;
    },
    close() {
      for (const descriptor of descriptors.splice(0)) closeSync(descriptor);
    },
  };
}
