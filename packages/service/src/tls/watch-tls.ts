import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { watchFiles } from '@zerolatency/service/files';
import { gaugeFrom, type Registry } from '../telemetry/index.ts';
import { checkMaterial, type TlsFiles, type TlsMaterial } from './tls-material.ts';

export interface TlsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface TlsWatchOptions {
  readonly log: TlsLog;
  readonly pollMs?: number;
  readonly nowMs?: () => number;
}

export interface TlsWatch {
  /** Ask again at each dial; what it returns is never changed in place. */
  current(): TlsMaterial;
  /** Returns how to unsubscribe. */
  subscribe(listener: (material: TlsMaterial) => void): () => void;
  /** Looks at the files now. */
  check(): Promise<void>;
  /** For a component report. */
  status(): { status: 'ok' | 'degraded'; detail: string; expiresAt: string };
  close(): void;
}

/**
 * Throws config.invalid when the files are unusable at the start. Later, an
 * unusable set is logged and the last usable one stays.
 */
export function watchTls(files: TlsFiles, options: TlsWatchOptions): TlsWatch {
  const nowMs = options.nowMs ?? Date.now;
  const listeners = new Set<(material: TlsMaterial) => void>();
  let current = readNow(files, nowMs());
  let refusal: string | undefined;

  const watch = watchFiles({
    files: async () => [files.certFile, files.keyFile, files.caFile],
    pollMs: options.pollMs ?? 1000,
    onChange: (contents) => {
      const text = (file: string) => contents.get(file)?.toString('utf8') ?? '';
      const next = freeze(text(files.certFile), text(files.keyFile), text(files.caFile));
      checkMaterial(next, files, nowMs());
      refusal = undefined;
      if (same(current, next)) return;
      current = next;
      options.log.info({ certFile: files.certFile }, 'certificate reloaded');
      for (const listener of listeners) listener(next);
    },
    onError: (reason) => {
      const why = reason instanceof ZlError ? reason.message : String(reason);
      refusal = why;
      options.log.warn({ errorId: 'config.invalid' }, `certificate not reloaded: ${why}`);
    },
  });
  return {
    current: () => current,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    check: watch.check,
    status: () => statusOf(current, refusal, nowMs()),
    close: watch.close,
  };
}

function statusOf({ cert }: TlsMaterial, refusal: string | undefined, nowMs: number) {
  const { validToDate } = new X509Certificate(cert);
  const expiresAt = validToDate.toISOString();
  const state = `${nowMs < validToDate.getTime() ? 'valid until' : 'expired at'} ${expiresAt}`;
  const detail =
    refusal === undefined ? state : `${state}; its newer files are refused: ${refusal}`;
  return {
    status: detail.startsWith('valid') && refusal === undefined ? 'ok' : 'degraded',
    detail,
    expiresAt,
  } as const;
}

function readNow(files: TlsFiles, nowMs: number): TlsMaterial {
  const material = freeze(read(files.certFile), read(files.keyFile), read(files.caFile));
  checkMaterial(material, files, nowMs);
  return material;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { message } = cause instanceof Error ? cause : fromUnknown(cause);
    throw new ZlError('config.invalid', `cannot read ${file}: ${message}`, { cause });
  }
}

function freeze(cert: string, key: string, ca: string): TlsMaterial {
  return Object.freeze({ cert, key, ca });
}

function same(a: TlsMaterial, b: TlsMaterial): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca === b.ca;
}

/** Exports when the certificate in use expires, as Unix time. `certificate` returns its PEM, the leaf first. */
export function exposeCertificate(registry: Registry, certificate: () => string): void {
  gaugeFrom(
    registry,
    'zl_certificate_expires_timestamp_seconds',
    () => new X509Certificate(certificate()).validToDate.getTime() / 1000,
  );
}
