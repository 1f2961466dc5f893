import { ZlError } from '@zerolatency/errors';
import { type FloorPort, type Manifest, pemFiles } from '@zerolatency/policy';
import { type Contents, watchFiles } from '@zerolatency/service/files';
import { ManifestHolder } from './manifest-holder.ts';

export interface ManifestLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface WatchManifestOptions {
  readonly manifestFile: string;
  /** A directory of *.pem files, read again as well. */
  readonly keysDir: string;
  readonly floor: FloorPort;
  readonly log: ManifestLog;
  readonly nowMs?: () => number;
  readonly pollMs?: number;
  /** Another is in force now; undefined when none is any more. */
  readonly onManifest: (manifest: Manifest | undefined) => void;
}

export type ManifestState =
  /** `why` is what was wrong with the file, when it was looked at last. */
  | { readonly state: 'none'; readonly why: string }
  | { readonly state: 'active'; readonly manifestId: string; readonly digest: string };

export interface ManifestWatch {
  current(): ManifestState;
  /** Looks at the files now. */
  check(): Promise<void>;
  close(): void;
}

/**
 * Resolves after the first look, whatever it found: without a good manifest no
 * server runs, and the bridge waits for one. A bad file is told once, leaves
 * the manifest in force as it is, and is tried again.
 */
export async function watchManifest(options: WatchManifestOptions): Promise<ManifestWatch> {
  const { manifestFile, keysDir, log } = options;
  const holder = new ManifestHolder(options.floor);
  let why = '';
  const files = watchFiles({
    files: async () => [...(await pemFiles(keysDir)), manifestFile],
    pollMs: options.pollMs ?? 1000,
    onChange: (contents) => offer(holder, contents, options),
    onError: (reason) => {
      const { id: errorId, message, help } = asManifestError(reason);
      why = message;
      log.warn({ errorId, manifestFile, help }, message);
    },
  });
  await files.check();
  const current = (): ManifestState => {
    if (holder.current === undefined) return { state: 'none', why };
    const { manifest, digest } = holder.current;
    return { state: 'active', manifestId: `${manifest.id}@${manifest.version}`, digest };
  };
  return { current, check: () => files.check(), close: () => files.close() };
}

async function offer(
  holder: ManifestHolder,
  contents: Contents,
  { manifestFile, log, nowMs = Date.now, onManifest }: WatchManifestOptions,
): Promise<void> {
  const textOf = (path: string) => contents.get(path)?.toString('utf8') ?? '';
  const keys = [...contents.keys()].filter((path) => path !== manifestFile).map(textOf);
  const offered = await holder.offer(textOf(manifestFile), { keys, nowMs: nowMs() });
  if ('unchanged' in offered) return;
  if ('installed' in offered) {
    const { manifest, digest } = offered.installed;
    const { id, version } = manifest;
    log.info({ manifest: id, version, digest }, 'server manifest installed');
    onManifest(manifest);
    return;
  }
  if (offered.dropped) {
    log.warn({ manifestFile }, 'the key of the server manifest is trusted no more: no server runs');
    onManifest(undefined);
  }
  throw offered.error;
}

/** Of a file that cannot be read, and of what the holder says. */
function asManifestError(reason: unknown): ZlError {
  if (reason instanceof ZlError) return reason;
  const why = reason instanceof Error ? reason.message : String(reason);
  return new ZlError('manifest.invalid', `server manifest refused: ${why}`, { cause: reason });
}
