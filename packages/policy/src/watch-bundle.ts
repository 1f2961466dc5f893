import { watchFiles } from '@zerolatency/watch';
import { BundleHolder, type BundleState } from './bundle-holder.ts';
import type { FloorPort } from './floor.ts';
import { pemFiles } from './key-files.ts';

export interface PolicyLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** For a counter: installed and refused are about files, the others about time. */
export type BundleEvent = 'installed' | 'refused' | 'stale' | 'expired';

export interface WatchBundleOptions {
  readonly envelopePath: string;
  /** SPKI PEM texts, or a directory of *.pem files that is read again as well. */
  readonly keys?: readonly string[];
  readonly keysDir?: string;
  readonly floor: FloorPort;
  readonly log: PolicyLog;
  readonly nowMs?: () => number;
  readonly pollMs?: number;
  readonly onEvent?: (event: BundleEvent) => void;
}

export interface BundleWatch {
  readonly holder: BundleHolder;
  /** Looks at the files and the clock now. */
  check(): Promise<void>;
  close(): void;
}

/**
 * Resolves after the first look, whatever it found: without a good bundle
 * tools are denied and chat works. A bad file is told once, leaves the bundle
 * in force as it is, and is tried again, since time can make it good.
 */
export async function watchBundle(options: WatchBundleOptions): Promise<BundleWatch> {
  const { envelopePath, keysDir, keys = [], log } = options;
  const nowMs = options.nowMs ?? Date.now;
  const holder = new BundleHolder({ keys, floor: options.floor });
  const noteAge = ageNoter(options, () => holder.current(nowMs()));

  const files = watchFiles({
    files: async () => [...(keysDir === undefined ? [] : await pemFiles(keysDir)), envelopePath],
    pollMs: options.pollMs ?? 1000,
    onChange: async (contents) => {
      const text = (path: string) => contents.get(path)?.toString('utf8') ?? '';
      const keyFiles = [...contents.keys()].filter((path) => path !== envelopePath);
      if (keysDir !== undefined) holder.trust(keyFiles.map(text));
      const offer = await holder.offer(text(envelopePath), nowMs());
      if ('error' in offer) throw offer.error;
      if ('unchanged' in offer) return;
      const { bundle, digest } = offer.installed;
      log.info({ policy: bundle.id, version: bundle.version, digest }, 'policy bundle installed');
      options.onEvent?.('installed');
    },
    onError: (reason) => {
      const why = reason instanceof Error ? reason.message : String(reason);
      log.warn({ errorId: 'policy.invalid', envelopePath }, why);
      options.onEvent?.('refused');
    },
  });
  const timer = setInterval(noteAge, options.pollMs ?? 1000);
  timer.unref();
  const check = async () => {
    await files.check();
    noteAge();
  };
  await check();
  return {
    holder,
    check,
    close: () => {
      clearInterval(timer);
      files.close();
    },
  };
}

/** Tells once when the bundle in force goes out of date. */
function ageNoter(
  { log, onEvent }: Pick<WatchBundleOptions, 'log' | 'onEvent'>,
  current: () => BundleState,
): () => void {
  let told: BundleState['state'] = 'none';
  return () => {
    const now = current();
    if (now.state === told) return;
    told = now.state;
    if (now.state !== 'stale' && now.state !== 'expired') return;
    log.warn(
      { policy: now.policyId, expiredAtMs: now.expiresAtMs },
      `policy bundle is ${now.state}`,
    );
    onEvent?.(now.state);
  };
}
