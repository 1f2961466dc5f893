import { ZlError } from '@zerolatency/errors';
import { VaultClient } from '@zerolatency/service/vault';
import type { HostConfig } from '../../config.ts';

export type VaultSettings = NonNullable<HostConfig['secrets']['vault']>;

export interface ReadOptions {
  /** The one that is known has been refused. */
  readonly isRefused?: boolean;
}

export interface VaultSecretsOptions {
  readonly nowMs?: () => number;
  /** After each answer of Vault; with the reason when a known secret could not be read again and stays in use. */
  readonly onRead?: (reference: string, fault: ZlError | undefined) => void;
}

interface Known {
  readonly secret: string;
  readonly readMs: number;
  readonly freshUntilMs: number;
}

/** While Vault is away, what it last said stays in use for so long. */
const MAX_STALE_MS = 3_600_000;
/** A provider that refuses every key must not make the host ask Vault for each request. */
const MIN_REREAD_MS = 1000;
const REMEDIES: Readonly<Record<number, string>> = {
  400: 'check secrets.vault',
  403: 'let secrets.vault.auth read the path of the reference',
  404: 'check mount and path of the reference, and that its newest version is not deleted',
  429: 'raise its rate limit',
  503: 'unseal it, or wait until it is active',
};

class VaultFailed extends ZlError {
  readonly status: number | undefined;

  constructor(message: string, { cause, status }: { cause?: unknown; status?: number }) {
    super('config.invalid', message, { cause });
    this.status = status;
  }
}

/** Secrets of the KV engine, version 2. */
export class VaultSecrets {
  readonly #vault: VaultClient;
  readonly #refreshMs: number;
  readonly #options: Required<VaultSecretsOptions>;
  readonly #known = new Map<string, Known>();
  readonly #reading = new Map<string, Promise<string>>();

  private constructor(vault: VaultClient, refreshMs: number, options: VaultSecretsOptions) {
    this.#vault = vault;
    this.#refreshMs = refreshMs;
    this.#options = { nowMs: () => performance.now(), onRead() {}, ...options };
  }

  /** Asks nothing yet. */
  static async open(settings: VaultSettings, options: VaultSecretsOptions = {}) {
    const { refreshMs, ...rest } = settings;
    const vault = await VaultClient.open({
      ...rest,
      setting: 'secrets.vault',
      remedies: REMEDIES,
      failed: (why, failure = {}) => new VaultFailed(`${rest.url}: ${why}`, failure),
    });
    return new VaultSecrets(vault, refreshMs, options);
  }

  /** Waits for Vault only where nothing usable is known. */
  async read(reference: string, { isRefused = false }: ReadOptions = {}): Promise<string> {
    const known = this.#known.get(reference);
    const nowMs = this.#options.nowMs();
    if (known === undefined || nowMs > known.freshUntilMs + MAX_STALE_MS) {
      return this.#readOnce(reference);
    }
    const isDue = isRefused ? nowMs >= known.readMs + MIN_REREAD_MS : nowMs >= known.freshUntilMs;
    if (!isDue) return known.secret;
    const again = this.#readOnce(reference).catch((reason: unknown) => {
      if (reason instanceof ZlError) this.#options.onRead(reference, reason);
      return known.secret;
    });
    return isRefused ? again : known.secret;
  }

  close(): void {
    this.#vault.close();
  }

  #readOnce(reference: string): Promise<string> {
    const reading =
      this.#reading.get(reference) ??
      this.#read(reference).finally(() => this.#reading.delete(reference));
    this.#reading.set(reference, reading);
    return reading;
  }

  async #read(reference: string): Promise<string> {
    const [path = '', field = ''] = reference.split('#');
    const [mount, ...rest] = path.split('/');
    try {
      const answer = await this.#vault.ask('GET', `${mount}/data/${rest.join('/')}`);
      const { data }: { data?: unknown } = { ...Object(answer.data) };
      const secret: unknown = Reflect.get(Object(data), field);
      if (typeof secret !== 'string' || secret === '') {
        throw new VaultFailed(`${reference}: the secret has no such text field`, { status: 404 });
      }
      const readMs = this.#options.nowMs();
      const freshMs = Math.min(this.#refreshMs, answer.leaseMs || this.#refreshMs);
      this.#known.set(reference, { secret, readMs, freshUntilMs: readMs + freshMs });
      this.#options.onRead(reference, undefined);
      return secret;
    } catch (reason) {
      // Vault says that the secret is gone, or not for this host any more.
      const isGone = reason instanceof VaultFailed && [403, 404].includes(reason.status ?? 0);
      if (isGone) this.#known.delete(reference);
      throw reason;
    }
  }
}
