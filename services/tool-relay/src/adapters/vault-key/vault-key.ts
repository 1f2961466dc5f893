import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { algorithmOf, type RemoteKey } from '@zerolatency/identity';
import { type VaultAnswer, VaultClient } from '@zerolatency/service/vault';
import type { RegistrarConfig } from '../../config.ts';

type VaultSettings = NonNullable<RegistrarConfig['registrar']['issuerVault']>;

export interface VaultKey extends RemoteKey {
  /** For a component report. */
  status(): { readonly status: 'ok' | 'degraded'; readonly detail: string };
  close(): void;
}

/** What the DER encoding of an Ed25519 key begins with (RFC 8410). */
const ED25519_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const REMEDIES: Readonly<Record<number, string>> = {
  400: 'check registrar.issuerVault',
  403: 'put a token that may read the key and sign with it into registrar.issuerVault.tokenFile',
  404: 'check mount and key of registrar.issuerVault',
  429: 'raise its rate limit for this key',
  503: 'unseal it, or wait until it is active',
};

/** Signs with a key of the transit engine of HashiCorp Vault or OpenBao. Rejects with kms.failed. */
export async function openVaultKey(settings: VaultSettings): Promise<VaultKey> {
  const { mount, key, url, namespace, caFile, timeoutMs, tokenFile } = settings;
  const failed = (why: string, { cause }: ErrorOptions = {}) =>
    new ZlError('kms.failed', `${url}: ${why}`, { cause });
  const vault = await VaultClient.open({
    ...{ url, namespace, caFile, timeoutMs, failed },
    auth: { tokenFile },
    setting: 'registrar.issuerVault',
    remedies: REMEDIES,
  });
  let failure: ZlError | undefined;
  try {
    const { version, publicKey } = readKey(await vault.ask('GET', `${mount}/keys/${key}`), failed);
    const isEcdsa = algorithmOf(publicKey) === 'ES256';
    const path = `${mount}/sign/${key}${isEcdsa ? '/sha2-256' : ''}`;
    const form = isEcdsa ? { marshaling_algorithm: 'jws' } : {};
    const sign = async (bytes: Uint8Array) => {
      const input = Buffer.from(bytes).toString('base64');
      // Pinned: relays know the key by the thumbprint of this version.
      const answer = await vault.ask('POST', path, { input, key_version: version, ...form });
      const signature = readSignature(answer);
      const how = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const;
      const isGood =
        signature !== undefined && verify(isEcdsa ? 'sha256' : null, bytes, how, signature);
      if (isGood) return signature;
      throw failed('its signature does not verify');
    };
    return {
      publicKey,
      sign: async (bytes) => {
        try {
          const signature = await sign(bytes);
          failure = undefined;
          return signature;
        } catch (reason) {
          if (reason instanceof ZlError) failure = reason;
          throw reason;
        }
      },
      status: () => {
        const detail = `${url}, version ${version} of ${key}`;
        if (failure === undefined) return { status: 'ok', detail };
        return { status: 'degraded', detail: `${detail}; ${failure.message}` };
      },
      close: () => vault.close(),
    };
  } catch (reason) {
    vault.close();
    throw reason;
  }
}

function readKey(
  { data }: VaultAnswer,
  failed: (why: string) => ZlError,
): { version: number; publicKey: KeyObject } {
  const { type, latest_version: version, keys }: Fields = { ...Object(data) };
  const { public_key: text }: Fields = { ...Object(Object(keys)[String(version)]) };
  const publicKey = typeof text === 'string' ? publicKeyOf(type, text) : undefined;
  if (typeof version === 'number' && publicKey !== undefined) return { version, publicKey };
  const why = `the key is of the type "${String(type).slice(0, 40)}"`;
  throw failed(`${why}; registrar.issuerVault.key must be an ed25519 or ecdsa-p256 key`);
}

type Fields = Readonly<Partial<Record<string, unknown>>>;

function publicKeyOf(type: unknown, text: string): KeyObject | undefined {
  try {
    if (type === 'ecdsa-p256') return createPublicKey(text);
    if (type !== 'ed25519') return undefined;
    const key = Buffer.concat([ED25519_PREFIX, Buffer.from(text, 'base64')]);
    return createPublicKey({ key, format: 'der', type: 'spki' });
  } catch {
    // The caller names what it must be.
    return undefined;
  }
}

/** vault:v1:<base64>; base64url with the marshaling algorithm jws. */
function readSignature({ data }: VaultAnswer): Buffer | undefined {
  const { signature }: Fields = { ...Object(data) };
  const encoded = typeof signature === 'string' && /^vault:v\d+:(.+)$/.exec(signature)?.[1];
  // Node's decoder takes both alphabets.
  return encoded ? Buffer.from(encoded, 'base64') : undefined;
}
