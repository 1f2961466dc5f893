import { ZlError } from '@zerolatency/errors';
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  type JSONWebKeySet,
  type JWK,
  type JWTVerifyGetKey,
} from 'jose';
import type { SigningKey } from './jwt.ts';

const NO_KEYS: ReadonlyMap<string, AbortController> = new Map();

/** The keys of an issuer at one time. A key that stays in the next ring keeps its signal. */
export class KeyRing {
  readonly select: JWTVerifyGetKey;
  /** By the thumbprint of the key (RFC 7638). */
  readonly #keys: ReadonlyMap<string, AbortController>;

  /** How many keys only the ring before it has. */
  readonly withdrawn: number;

  private constructor(
    select: JWTVerifyGetKey,
    keys: ReadonlyMap<string, AbortController>,
    withdrawn: number,
  ) {
    this.select = select;
    this.#keys = keys;
    this.withdrawn = withdrawn;
  }

  /** Withdraws the keys that only the ring before it has. Throws unless the text is a set of public keys. */
  static async parse(text: string, before?: KeyRing): Promise<KeyRing> {
    const set = withoutSecrets(JSON.parse(text));
    const select = createLocalJWKSet(set);
    const thumbprints = await Promise.all(set.keys.map(thumbprintOf));
    const known = before === undefined ? NO_KEYS : before.#keys;
    const keys = new Map<string, AbortController>();
    for (const thumbprint of thumbprints) {
      if (thumbprint !== undefined)
        keys.set(thumbprint, known.get(thumbprint) ?? new AbortController());
    }
    const reason = new ZlError(
      'identity.invalid',
      'the issuer has withdrawn the key of this token',
    );
    const gone = [...known].filter(([thumbprint]) => !keys.has(thumbprint));
    for (const [, controller] of gone) controller.abort(reason);
    return new KeyRing(select, keys, gone.length);
  }

  get size(): number {
    return this.#keys.size;
  }

  /** Aborts when the issuer withdraws this key of the ring. */
  async withdrawalOf(key: SigningKey): Promise<AbortSignal> {
    const thumbprint = await calculateJwkThumbprint(key);
    const found = this.#keys.get(thumbprint);
    if (found === undefined) throw new Error('the key is not one of this ring');
    return found.signal;
  }

  /** Withdraws every key. */
  withdrawAll(reason: ZlError): void {
    for (const controller of this.#keys.values()) controller.abort(reason);
  }
}

/** Undefined for a kind of key that no supported algorithm uses. */
async function thumbprintOf(key: JWK): Promise<string | undefined> {
  try {
    return await calculateJwkThumbprint(key);
  } catch {
    return undefined;
  }
}

/** A symmetric or private key among them is a mistake worth stopping for. */
function withoutSecrets(set: JSONWebKeySet): JSONWebKeySet {
  for (const key of set.keys) {
    if (key.kty === 'oct' || 'd' in key) throw new Error('the key set holds a secret key');
  }
  return set;
}
