import { readFile } from 'node:fs/promises';
import { type ErrorId, ZlError } from '@zerolatency/errors';
import { KeyRing } from '@zerolatency/identity';
import { Backoff } from '@zerolatency/service/backoff';
import { type Document, download, type Egress } from '@zerolatency/service/egress';
import type { ComponentStatus } from '@zerolatency/service/lifecycle';
import { steadyClock } from '@zerolatency/service/steady-clock';
import type { KeySource } from '../../identity-settings.ts';

export interface RefreshTimes {
  readonly minMs: number;
  readonly maxMs: number;
  /** How long the last good set stays in force. */
  readonly maxAgeMs: number;
}

export interface RemoteKeysOptions {
  readonly source: Exclude<KeySource, { readonly file: string }>;
  readonly egress: Egress;
  readonly refresh: RefreshTimes;
  readonly onRead: (result: ErrorId | 'none') => void;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
  readonly nowMs?: () => number;
}

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 512 * 1024;
/** A token without a key id is tried with each of them. */
const MAX_KEYS = 100;
/** Tokens with unknown key ids make the host ask the issuer at most this often. */
const COOLDOWN_MS = 10_000;
const FIRST_RETRY_MS = 1_000;

/** The key set at a URL, read periodically. While it cannot be read, the last one stays in force for a time. */
export class RemoteKeys {
  readonly #options: RemoteKeysOptions;
  readonly #nowMs: () => number;
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  #ring: KeyRing | undefined;
  #readAtMs = 0;
  #attemptedAtMs = Number.NEGATIVE_INFINITY;
  #failure: ZlError | undefined;
  #reading: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? steadyClock();
    const { minMs, maxMs } = options.refresh;
    this.#backoff = new Backoff({ minMs: Math.min(FIRST_RETRY_MS, minMs), maxMs });
  }

  /** Undefined while no set has been read, or the last one is too old. */
  ring(): KeyRing | undefined {
    if (this.#ring !== undefined && this.#ageMs() >= this.#options.refresh.maxAgeMs) {
      this.#ring.withdrawAll(this.unavailable());
      this.#ring = undefined;
    }
    return this.#ring;
  }

  /** Reads the set now, or joins a read in progress. Never rejects. */
  check(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** For a token with an unknown key, which may be newer than this set. Returns whether the issuer was asked. */
  async checkForNew(): Promise<boolean> {
    const isCooling = this.#nowMs() - this.#attemptedAtMs < COOLDOWN_MS;
    if (this.#reading === undefined && isCooling) return false;
    await this.check();
    return true;
  }

  unavailable(): ZlError {
    const { source } = this.#options;
    const why = this.#failure?.message ?? 'it has not been read yet';
    const message = `the key set of the token's issuer is unavailable`;
    return new ZlError('identity.unavailable', message, {
      cause: new Error(`${source.url}: ${why}`),
    });
  }

  status(): ComponentStatus {
    const { url } = this.#options.source;
    const ring = this.ring();
    const why = this.#failure?.message;
    if (ring === undefined)
      return { status: 'down', detail: why ?? `${url} has not been read yet` };
    const age = `${Math.round(this.#ageMs() / 1000)} s ago`;
    if (why === undefined)
      return { status: 'ok', detail: `${url}, ${ring.size} keys, read ${age}` };
    return { status: 'degraded', detail: `the keys read ${age} stay in force: ${why}` };
  }

  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  async #read(): Promise<void> {
    clearTimeout(this.#timer);
    this.#attemptedAtMs = this.#nowMs();
    let waitMs: number;
    try {
      const { text, headers } = await this.#download();
      const ring = await parse(text, this.#ring);
      if (ring.withdrawn > 0) {
        const { log, source } = this.#options;
        log.warn({ url: source.url.href, keys: ring.withdrawn }, 'the issuer has withdrawn keys');
      }
      this.#ring = ring;
      this.#readAtMs = this.#nowMs();
      waitMs = freshMs(headers, this.#options.refresh);
      this.#succeeded();
    } catch (reason) {
      waitMs = Math.min(this.#backoff.nextMs(), this.#untilTooOldMs());
      this.#failed(reason);
    }
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => void this.check(), waitMs).unref();
  }

  #ageMs(): number {
    return this.#nowMs() - this.#readAtMs;
  }

  #untilTooOldMs(): number {
    if (this.ring() === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#options.refresh.maxAgeMs - this.#ageMs());
  }

  async #download(): Promise<Document> {
    const { source, egress } = this.#options;
    const { url, discovers, caFile } = source;
    const options = {
      ...{ egress, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal: this.#closing.signal },
      ca: caFile === '' ? undefined : await readFile(caFile, 'utf8'),
    };
    const found = await download(url, options);
    return discovers === undefined ? found : download(keySetOf(found.text, discovers), options);
  }

  #succeeded(): void {
    const { onRead, log, source } = this.#options;
    onRead('none');
    this.#backoff.reset();
    if (this.#failure !== undefined)
      log.info({ url: source.url.href }, 'a key set can be read again');
    this.#failure = undefined;
  }

  #failed(reason: unknown): void {
    const { onRead, log, source } = this.#options;
    if (this.#closing.signal.aborted) return;
    const why = reason instanceof Error ? reason.message : String(reason);
    const isRefused = reason instanceof ZlError && reason.id === 'egress.refused';
    const failure = isRefused ? reason : new ZlError('identity.unavailable', why);
    onRead(failure.id);
    const isNews = this.#failure?.message !== failure.message;
    if (isNews) log.warn({ err: failure, url: source.url.href }, 'a key set cannot be read');
    this.#failure = failure;
  }
}

async function parse(text: string, before: KeyRing | undefined): Promise<KeyRing> {
  const { keys } = readObject(text, 'the key set');
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) {
    throw new Error(`the key set is not a list of at most ${MAX_KEYS} keys`);
  }
  // More likely a fault of the issuer than a withdrawal, and it would end every stream.
  if (keys.length === 0) throw new Error('the key set is empty');
  return KeyRing.parse(text, before);
}

function keySetOf(text: string, issuer: string): URL {
  const found = readObject(text, 'the discovery document');
  if (found.issuer !== issuer) {
    throw new Error(
      `the discovery document is of issuer ${JSON.stringify(found.issuer)}, not "${issuer}"`,
    );
  }
  const url = typeof found.jwks_uri === 'string' ? URL.parse(found.jwks_uri) : null;
  if (url?.protocol !== 'https:')
    throw new Error('jwks_uri of the discovery document is not an https:// URL');
  return url;
}

function readObject(text: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${what} is not JSON`);
  }
  if (typeof value === 'object' && value !== null) return { ...value };
  throw new Error(`${what} is not a JSON object`);
}

/** What Cache-Control permits (RFC 9111), within the bounds. */
function freshMs(headers: Document['headers'], { minMs, maxMs }: RefreshTimes): number {
  const { 'cache-control': control = '', age = '0' } = headers;
  const [, seconds] = /(?:^|[\s,])max-age="?(\d+)/i.exec(control) ?? [];
  if (/(?:^|[\s,])no-(?:cache|store)/i.test(control)) return minMs;
  if (seconds === undefined) return maxMs;
  const leftMs = (Number(seconds) - (Number(age) || 0)) * 1000;
  return Math.min(Math.max(leftMs, minMs), maxMs);
}
