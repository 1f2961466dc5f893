import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { ZlError } from '@zerolatency/errors';
import { algorithmOf, type RemoteKey } from '@zerolatency/identity';
import { fileFault } from '@zerolatency/service/files';
import type { RegistrarConfig } from '../../config.ts';

type VaultSettings = NonNullable<RegistrarConfig['registrar']['issuerVault']>;

export interface VaultKey extends RemoteKey {
  /** For a component report. */
  status(): { readonly status: 'ok' | 'degraded'; readonly detail: string };
  close(): void;
}

/** A key and a signature are far smaller. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** A registrar signs some hundred credentials a second at most. */
const MAX_SOCKETS = 16;
const MAX_PENDING = 256;
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
  const { mount, key, url } = settings;
  const vault = new Vault(settings, await caOf(settings));
  let failure: ZlError | undefined;
  try {
    const { version, publicKey } = readKey(await vault.ask('GET', `${mount}/keys/${key}`), vault);
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
      throw vault.failed('its signature does not verify');
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

async function caOf({ caFile }: VaultSettings): Promise<string | undefined> {
  if (caFile === undefined) return undefined;
  return await readFile(caFile, 'utf8').catch((cause: unknown) => {
    const why = `registrar.issuerVault.caFile: ${caFile} cannot be read`;
    throw new ZlError('config.invalid', why, { cause });
  });
}

class Vault {
  readonly #settings: VaultSettings;
  readonly #agent: Agent;
  #pending = 0;

  constructor(settings: VaultSettings, ca: string | undefined) {
    this.#settings = settings;
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: MAX_SOCKETS,
      ca,
      minVersion: 'TLSv1.2',
    });
  }

  failed(why: string, cause?: unknown): ZlError {
    return new ZlError('kms.failed', `${this.#settings.url}: ${why}`, { cause });
  }

  /** Returns the `data` of the answer. */
  async ask(method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> {
    if (this.#pending >= MAX_PENDING) throw this.failed(`${MAX_PENDING} requests are under way`);
    this.#pending += 1;
    try {
      const { status, text } = await this.#exchange(method, path, body);
      if (status !== 200) throw this.failed(refusalOf(status, text));
      const answer = parse(text);
      if (answer.data !== undefined) return answer.data;
      throw this.failed('its answer cannot be read; check that the address is that of a Vault');
    } finally {
      this.#pending -= 1;
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange(method: string, path: string, body: object | undefined) {
    const { url, namespace, timeoutMs } = this.#settings;
    const token = await this.#token();
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      return await new Promise<{ status: number; text: string }>((resolve, reject) => {
        const asked = request(`${url}/v1/${path}`, {
          ...{ method, signal, agent: this.#agent },
          headers: {
            'x-vault-token': token,
            'x-vault-request': 'true',
            'content-type': 'application/json',
            ...(namespace !== '' && { 'x-vault-namespace': namespace }),
          },
        });
        asked.on('error', reject);
        asked.on('response', (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('error', reject);
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > MAX_ANSWER_BYTES) asked.destroy(new Error('its answer is too large'));
            else chunks.push(chunk);
          });
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
          );
        });
        asked.end(body && JSON.stringify(body));
      });
    } catch (cause) {
      if (signal.aborted) throw this.failed(`no answer within ${timeoutMs} ms`, cause);
      throw this.failed(cause instanceof Error ? cause.message : 'cannot be reached', cause);
    }
  }

  async #token(): Promise<string> {
    const { tokenFile } = this.#settings;
    const unusable = (why: string, cause?: unknown) =>
      this.failed(`registrar.issuerVault.tokenFile: ${tokenFile} ${why}`, cause);
    const fault = await fileFault(tokenFile);
    if (fault !== undefined) throw unusable('cannot be read', fault);
    const token = (await readFile(tokenFile, 'utf8')).trim();
    if (/^[\x21-\x7e]{1,4096}$/.test(token)) return token;
    throw unusable('does not hold a token');
  }
}

function refusalOf(status: number, text: string): string {
  const { errors } = parse(text);
  const said = Array.isArray(errors) ? errors.filter((each) => typeof each === 'string') : [];
  const why = said.length === 0 ? '' : `: ${said.join('; ').slice(0, 200)}`;
  const remedy = REMEDIES[status];
  return `it answered ${status}${why}${remedy === undefined ? '' : `; ${remedy}`}`;
}

function parse(text: string): { readonly data?: unknown; readonly errors?: unknown } {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    // A proxy before it, perhaps.
    return {};
  }
}

function readKey(data: unknown, vault: Vault): { version: number; publicKey: KeyObject } {
  const { type, latest_version: version, keys }: Fields = { ...Object(data) };
  const { public_key: text }: Fields = { ...Object(Object(keys)[String(version)]) };
  const publicKey = typeof text === 'string' ? publicKeyOf(type, text) : undefined;
  if (typeof version === 'number' && publicKey !== undefined) return { version, publicKey };
  const why = `the key is of the type "${String(type).slice(0, 40)}"`;
  throw vault.failed(`${why}; registrar.issuerVault.key must be an ed25519 or ecdsa-p256 key`);
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
function readSignature(data: unknown): Buffer | undefined {
  const { signature }: Fields = { ...Object(data) };
  const encoded = typeof signature === 'string' && /^vault:v\d+:(.+)$/.exec(signature)?.[1];
  // Node's decoder takes both alphabets.
  return encoded ? Buffer.from(encoded, 'base64') : undefined;
}
