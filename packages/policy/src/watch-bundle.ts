import { watchFiles } from '@zerolatency/service/files';
import { BundleHolder, type BundleState } from './bundle-holder.ts';
import { BundleRefused, type RefusalReason } from './bundle-refused.ts';
import type { FloorPort } from './floor.ts';
import { pemFiles } from './key-files.ts';

export interface PolicyLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface BundleObserver {
  /** What is decided by from here on, before the first decision under it. */
  changed?(now: BundleState): void;
  /** An offer was not taken. Told once for each content and each way in which it cannot be read. */
  refused?(reason: RefusalReason): void;
}

export interface WatchBundleOptions {
  readonly envelopePath: string;
  /** SPKI PEM texts, or a directory of *.pem files that is read again as well. */
  readonly keys?: readonly string[];
  readonly keysDir?: string;
  readonly floor: FloorPort;
  readonly log: PolicyLog;
  readonly nowMs?: () => number;
  readonly pollMs?: number;
  readonly observer?: BundleObserver;
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
  const { envelopePath, keysDir, keys = [], floor, log, observer } = options;
  const nowMs = options.nowMs ?? Date.now;
  const onChange = (now: BundleState) => {
    observer?.changed?.(now);
    logAge(log, now);
  };
  const holder = new BundleHolder({ keys, floor, onChange });

  const files = watchFiles({
    files: async () => [...(keysDir === undefined ? [] : await pemFiles(keysDir)), envelopePath],
    pollMs: options.pollMs ?? 1000,
    onChange: async (contents) => {
      const text = (path: string) => contents.get(path)?.toString('utf8') ?? '';
      const keyFiles = [...contents.keys()].filter((path) => path !== envelopePath);
      if (keysDir !== undefined) holder.trust(keyFiles.map(text), nowMs());
      const offer = await holder.offer(text(envelopePath), nowMs());
      if ('error' in offer) throw offer.error;
      if ('unchanged' in offer) return;
      const { bundle, digest } = offer.installed;
      log.info({ policy: bundle.id, version: bundle.version, digest }, 'policy bundle installed');
    },
    onError: (reason) => {
      const why = reason instanceof Error ? reason.message : String(reason);
      log.warn({ errorId: 'policy.invalid', envelopePath }, why);
      observer?.refused?.(reason instanceof BundleRefused ? reason.reason : 'unreadable');
    },
  });
  const check = async () => {
    await files.check();
    holder.note(nowMs());
  };
  await check();
  const timer = setInterval(() => holder.note(nowMs()), options.pollMs ?? 1000);
  timer.unref();
  return {
    holder,
    check,
    close: () => {
      clearInterval(timer);
      files.close();
    },
  };
}

function logAge(log: PolicyLog, now: BundleState): void {
  if (now.state !== 'stale' && now.state !== 'expired') return;
  const { state, policyId: policy, expiresAtMs: expiredAtMs } = now;
  log.warn({ policy, expiredAtMs }, `policy bundle is ${state}`);
}
