// Generated from contracts/config/tenant-keys.schema.json by `make generate`.

/**
 * Where the key is; never the key itself.
 */
export type ProviderKey =
  | {
      readonly file: string;
    }
  | {
      readonly env: string;
    }
  | {
      /**
       * A field of a secret in the KV engine (version 2) of secrets.vault, as <mount>/<path>#<field>.
       */
      readonly vault: string;
    };

/**
 * Which keys the requests of a tenant carry. Holds references, never keys.
 */
export interface TenantKeys {
  readonly schema: 'zerolatency.tenant-keys/v1';
  readonly tenants: {
    readonly [k: string]: Tenant;
  };
}
export interface Tenant {
  /**
   * By the names in providers.vendors.
   */
  readonly keys: {
    readonly [k: string]: ProviderKey;
  };
  /**
   * What a provider without a key here gets: no request of this tenant, or one with the key in providers.vendors. Providers that need no key are not affected.
   */
  readonly otherProviders?: 'refused' | 'shared';
}
