import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';

/** Certificates, keys and policy bundles are far smaller; it bounds what a wrong path costs. */
const MAX_BYTES = 4 * 1024 * 1024;

/** The coarsest clock of a file system in use (FAT) ticks this seldom. */
const RECENT_MS = 2000;

/** Path to content, in the order of the paths. */
export type Contents = ReadonlyMap<string, Buffer>;

export interface FileWatchOptions {
  /** The paths now; asked again at each look, so that it may list a directory. */
  readonly files: () => Promise<readonly string[]>;
  /**
   * Awaited before the next look. When it throws, the content counts as not
   * seen: the reason goes to onError once, and the next look tries again.
   */
  readonly onChange: (contents: Contents) => void | Promise<void>;
  readonly onError: (reason: unknown) => void;
  readonly pollMs: number;
}

export interface FileWatch {
  /** Looks now, after any look that is under way. Never rejects. */
  check(): Promise<void>;
  close(): void;
}

/**
 * Polls, because file system events are lost exactly where reloading matters:
 * on network mounts, and where Kubernetes swaps a symbolic link above the file.
 */
export function watchFiles(options: FileWatchOptions): FileWatch {
  let closed = false;
  // A look may be under way when the watch closes; its result is dropped.
  const look = lookForChanges({
    ...options,
    onChange: (contents) => (closed ? undefined : options.onChange(contents)),
    onError: (reason) => (closed ? undefined : options.onError(reason)),
  });
  let pending = 0;
  let running = Promise.resolve();
  const check = () => {
    pending += 1;
    running = running
      .then(() => (closed ? undefined : look()))
      .finally(() => {
        pending -= 1;
      });
    return running;
  };
  const timer = setInterval(() => {
    // On a mount that hangs, looks must not queue up.
    if (pending === 0) void check();
  }, options.pollMs);
  timer.unref();
  return {
    check,
    close: () => {
      closed = true;
      clearInterval(timer);
    },
  };
}

function lookForChanges(options: FileWatchOptions): () => Promise<void> {
  // An empty list of files is content too, as when the last one is removed.
  let seenStat: string | undefined;
  let seenContent: string | undefined;
  let seenError = '';
  return async () => {
    try {
      const files = await options.files();
      // Before the content: a file swapped between the two is read again next time.
      const { text, isRecent } = await fingerprint(files);
      if (text !== seenStat) {
        const contents = await readAll(files);
        const content = digest(contents);
        if (content !== seenContent) await options.onChange(contents);
        seenStat = isRecent ? undefined : text;
        seenContent = content;
      }
      seenError = '';
    } catch (reason) {
      // Retried on every poll, since the cause may pass, but logged once.
      seenStat = undefined;
      seenContent = undefined;
      const error = String(reason);
      if (error !== seenError) options.onError(reason);
      seenError = error;
    }
  };
}

interface Fingerprint {
  readonly text: string;
  /** So young that a file system could change the content without showing it here. */
  readonly isRecent: boolean;
}

/** Why a file cannot be watched; undefined when it can. */
export async function fileFault(file: string): Promise<Error | undefined> {
  try {
    await statOf(file);
    await access(file, constants.R_OK);
    return undefined;
  } catch (reason) {
    return reason instanceof Error ? reason : new Error(String(reason));
  }
}

async function statOf(file: string) {
  const found = await stat(file, { bigint: true });
  if (!found.isFile()) throw new Error(`${file} is not a regular file`);
  if (found.size > MAX_BYTES) throw new Error(`${file} is larger than ${MAX_BYTES} bytes`);
  return found;
}

async function fingerprint(files: readonly string[]): Promise<Fingerprint> {
  const recentMs = Date.now() - RECENT_MS;
  const parts = await Promise.all(
    files.map(async (file) => {
      const found = await statOf(file);
      return {
        text: [file, found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join('|'),
        isRecent: Number(found.ctimeMs) > recentMs,
      };
    }),
  );
  return {
    text: parts.map(({ text }) => text).join('\n'),
    isRecent: parts.some(({ isRecent }) => isRecent),
  };
}

async function readAll(files: readonly string[]): Promise<Contents> {
  return new Map(
    await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)),
  );
}

function digest(contents: Contents): string {
  const hash = createHash('sha256');
  for (const [file, bytes] of contents) hash.update(`${file}\n${bytes.length}\n`).update(bytes);
  return hash.digest('hex');
}
