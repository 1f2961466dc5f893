import { compileSchema } from '@zerolatency/contracts';
import { fromUnknown, ZlError } from '@zerolatency/errors';
import { resolveSecret, type SecretSources } from '@zerolatency/service/config';
import type { ComponentCheck } from '@zerolatency/service/lifecycle';
import schema from '../../../../contracts/config/tenant-keys.schema.json' with { type: 'json' };
import type { ProviderKey, TenantKeys } from '../../../../contracts/gen/tenant-keys.d.ts';
import { VaultSecrets } from '../adapters/vault/vault-secrets.ts';
import type { HostConfig } from '../config.ts';
import { type KeyRequest, KeyTable } from '../providers/keys.ts';
import { type TableOptions, watchTable } from './watch-table.ts';

export interface ReadKeyRequest extends KeyRequest {
  /** The provider has refused the key that it got. */
  readonly isRefused: boolean;
}

export interface OpenedKeys {
  /** Undefined for a provider that needs none. @throws provider.no_key */
  read(request: ReadKeyRequest): Promise<string | undefined>;
  /** Whether the tenant's account is asked, and not the host's. */
  isOwn(request: KeyRequest): boolean;
  readonly status: ComponentCheck;
  close(): void;
}

const validator = compileSchema<TenantKeys>(schema, 'built-in');
/** A header takes nothing else, and its error would repeat the value. */
const KEY_PATTERN = /^[\x21-\x7e]{1,4096}$/;

/** Reads the shared keys once, and those of tenants when they are needed. @throws config.invalid */
export async function openKeys(
  { providers, secrets }: Pick<HostConfig, 'providers' | 'secrets'>,
  { env, log }: { readonly env: SecretSources['env']; readonly log: TableOptions['log'] },
): Promise<OpenedKeys> {
  const shared = providers.vendors.map(({ name, key }) => [name, key] as const);
  const keys = new KeyTable(new Map(shared));
  const faults = new KeyFaults(log);
  const onRead = (reference: string, fault: ZlError | undefined) => faults.note(reference, fault);
  const vault = secrets.vault && (await VaultSecrets.open(secrets.vault, { onRead }));
  const readKey = async (key: ProviderKey, isRefused = false) => {
    const secret =
      'vault' in key
        ? await vaultOf(vault).read(key.vault, { isRefused })
        : await resolveSecret(key, { env });
    if (KEY_PATTERN.test(secret)) return secret;
    throw new ZlError('config.invalid', `${nameOf(key)} is not one line of printable ASCII`);
  };
  const use = (text: unknown) => {
    const { value, error } = validator.validate(text);
    if (error !== undefined) throw new ZlError('config.invalid', error.message);
    const references = Object.values(value.tenants).flatMap((tenant) => Object.values(tenant.keys));
    if (references.some((key) => 'vault' in key)) vaultOf(vault);
    keys.use(value);
    faults.forget();
  };
  const setting = 'providers.tenantKeysFile';
  const table = await watchTable({ file: providers.tenantKeysFile, setting, use, log });
  const close = () => {
    table.close();
    vault?.close();
  };
  try {
    for (const [, key] of shared) if (key !== undefined) await readKey(key);
  } catch (reason) {
    close();
    throw reason;
  }
  return {
    async read({ isRefused, ...request }) {
      const key = keys.find(request);
      if (key === undefined) return undefined;
      try {
        const secret = await readKey(key, isRefused);
        // A secret of Vault may be an old one that cannot be read again.
        if (!('vault' in key)) faults.note(nameOf(key), undefined);
        return secret;
      } catch (cause) {
        faults.note(nameOf(key), fromUnknown(cause));
        // Where the key should be is for the operator, and not for the tenant's users.
        const message = `the key for ${request.provider} cannot be read`;
        throw new ZlError('provider.no_key', message, { cause });
      }
    },
    isOwn: (request) => keys.isOwn(request),
    status: async () => {
      const { status, detail } = table.status(`${keys.tenants} tenants with keys of their own`);
      if (faults.size === 0) return { status, detail };
      return { status: 'degraded', detail: `${detail}; ${faults.size} keys cannot be read` };
    },
    close,
  };
}

function vaultOf(vault: VaultSecrets | undefined): VaultSecrets {
  if (vault !== undefined) return vault;
  throw new ZlError('config.invalid', 'a key is in a Vault, but secrets.vault is missing');
}

function nameOf(key: ProviderKey): string {
  if ('vault' in key) return key.vault;
  return 'file' in key ? key.file : key.env;
}

/** One line when a key cannot be read, and one when it can again. */
class KeyFaults {
  readonly #log: TableOptions['log'];
  readonly #faults = new Map<string, string>();

  constructor(log: TableOptions['log']) {
    this.#log = log;
  }

  get size(): number {
    return this.#faults.size;
  }

  /** Drops references that are no longer used from the report; the others are noted again. */
  forget(): void {
    this.#faults.clear();
  }

  note(reference: string, reason: ZlError | undefined): void {
    if (reason === undefined) {
      if (this.#faults.delete(reference)) this.#log.info({ reference }, 'a key can be read again');
    } else if (this.#faults.get(reference) !== reason.message) {
      this.#faults.set(reference, reason.message);
      this.#log.warn({ reference, why: reason.message }, 'a key cannot be read');
    }
  }
}
