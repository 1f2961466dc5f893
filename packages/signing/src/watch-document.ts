import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Contents, fileFault, watchFiles } from '@zerolatency/service/files';
import type { DocumentHolder } from './document-holder.ts';
import { type DocumentHead, DocumentRefused, refuse } from './signed-document.ts';

export interface DocumentLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface WatchDocumentOptions<T extends DocumentHead> {
  readonly holder: DocumentHolder<T>;
  /** The envelope. */
  readonly file: string;
  /** A directory of *.pem files, which is watched too; without it the holder's keys stay. */
  readonly keysDir?: string;
  readonly log: DocumentLog;
  readonly nowMs?: () => number;
  readonly pollMs?: number;
  /** Called once for each content and each way in which it cannot be read. */
  readonly onRefused?: (refusal: DocumentRefused) => void;
}

export interface DocumentWatch {
  /** What was wrong with the file when it was last offered; undefined after a good one. */
  refusal(): DocumentRefused | undefined;
  /** Looks at the files and the clock now. */
  check(): Promise<void>;
  close(): void;
}

/**
 * Resolves after the first look, whatever it found. A bad file is reported
 * once, leaves the document in force, and is tried again, since time or a key
 * can make it good.
 */
export async function watchDocument<T extends DocumentHead>(
  options: WatchDocumentOptions<T>,
): Promise<DocumentWatch> {
  const { holder, file, keysDir, log, nowMs = Date.now, pollMs = 1000 } = options;
  let refusal: DocumentRefused | undefined;
  holder.onChange((now) => {
    if (now.state !== 'stale' && now.state !== 'expired') return;
    const { name, expiresAtMs: expiredAtMs } = now;
    log.warn({ [holder.kind.logField]: name, expiredAtMs }, `${holder.kind.name} is ${now.state}`);
  });
  let fault: Error | undefined;
  const files = watchFiles({
    // A file that cannot be read must not hide that a key was revoked meanwhile.
    files: async () => {
      fault = undefined;
      const paths = [...(keysDir === undefined ? [] : await pemFiles(keysDir)), file];
      const faults = await Promise.all(paths.map(fileFault));
      fault = faults.find((found) => found !== undefined);
      return paths.filter((_, index) => faults[index] === undefined);
    },
    pollMs,
    onChange: async (contents) => {
      await offer(options, contents, nowMs());
      // Thrown, so that the watch tries again.
      if (fault !== undefined) throw fault;
      refusal = undefined;
    },
    onError: (reason) => {
      refusal = asRefusal(holder, reason);
      const { id: errorId, help, message } = refusal;
      log.warn({ errorId, file, help }, message);
      options.onRefused?.(refusal);
    },
  });
  const check = async () => {
    await files.check();
    holder.note(nowMs());
  };
  await check();
  const timer = setInterval(() => holder.note(nowMs()), pollMs);
  timer.unref();
  return {
    refusal: () => refusal,
    check,
    close: () => {
      clearInterval(timer);
      files.close();
    },
  };
}

/** Throws the refusal, so that the watch tries again. Without the document only the keys count. */
async function offer<T extends DocumentHead>(
  options: WatchDocumentOptions<T>,
  contents: Contents,
  nowMs: number,
): Promise<void> {
  const { holder, file, keysDir, log } = options;
  const { name, logField } = holder.kind;
  const textOf = (path: string) => contents.get(path)?.toString('utf8') ?? '';
  const keys = [...contents.keys()].filter((path) => path !== file).map(textOf);
  if (!contents.has(file)) {
    if (keysDir !== undefined && (await holder.trust(keys, nowMs))) warnDropped(options);
    return;
  }
  const offered = await holder.offer(textOf(file), nowMs, keysDir === undefined ? undefined : keys);
  if ('unchanged' in offered) return;
  if ('installed' in offered) {
    const { content, digest } = offered.installed;
    log.info({ [logField]: content.id, version: content.version, digest }, `${name} installed`);
    return;
  }
  if (offered.dropped) warnDropped(options);
  throw offered.error;
}

function warnDropped<T extends DocumentHead>({ holder, file, log }: WatchDocumentOptions<T>): void {
  const { name, withoutIt } = holder.kind;
  log.warn({ file }, `the key of the ${name} is no longer trusted: ${withoutIt}`);
}

function asRefusal<T extends DocumentHead>(
  { kind }: DocumentHolder<T>,
  cause: unknown,
): DocumentRefused {
  if (cause instanceof DocumentRefused) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return refuse(kind, 'unreadable', why, { cause }).error;
}

/** Sorted, so that the same keys come in the same order. */
async function pemFiles(dir: string): Promise<string[]> {
  const names = await readdir(dir);
  return names
    .filter((name) => name.endsWith('.pem'))
    .sort()
    .map((name) => join(dir, name));
}
