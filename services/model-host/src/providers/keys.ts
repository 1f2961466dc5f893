import { ZlError } from '@zerolatency/errors';
import type { ProviderKey, TenantKeys } from '../../../../contracts/gen/tenant-keys.d.ts';

export interface KeyRequest {
  /** As in providers.vendors. */
  readonly provider: string;
  readonly tenant: string;
}

/** Which key a request carries, by reference. */
export class KeyTable {
  readonly #shared: ReadonlyMap<string, ProviderKey | undefined>;
  #tenants = new Map<string, TenantKeys['tenants'][string]>();

  /** The keys of providers.vendors; undefined for a provider that needs none. */
  constructor(shared: ReadonlyMap<string, ProviderKey | undefined>) {
    this.#shared = shared;
  }

  get tenants(): number {
    return this.#tenants.size;
  }

  /** @throws config.invalid for a provider that is not configured, which is a typing error. */
  use({ tenants }: TenantKeys): void {
    for (const [tenant, { keys }] of Object.entries(tenants)) {
      const unknown = Object.keys(keys).find((provider) => !this.#shared.has(provider));
      if (unknown === undefined) continue;
      const why = `tenants.${tenant}.keys names "${unknown}", which is not in providers.vendors`;
      throw new ZlError('config.invalid', why);
    }
    this.#tenants = new Map(Object.entries(tenants));
  }

  isOwn({ provider, tenant }: KeyRequest): boolean {
    return Object.hasOwn(this.#tenants.get(tenant)?.keys ?? {}, provider);
  }

  /**
   * Undefined for a provider that needs no key. A tenant with keys of its own never gets the
   * shared one unless its entry says so. @throws provider.no_key
   */
  find({ provider, tenant }: KeyRequest): ProviderKey | undefined {
    const shared = this.#shared.get(provider);
    const entry = this.#tenants.get(tenant);
    if (entry === undefined) return shared;
    if (Object.hasOwn(entry.keys, provider)) return entry.keys[provider];
    if (shared === undefined || entry.otherProviders === 'shared') return shared;
    throw new ZlError('provider.no_key', `this tenant has no key for ${provider}`);
  }
}
