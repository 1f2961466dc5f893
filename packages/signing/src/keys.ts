import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { ZlError } from '@zerolatency/errors';

/** Named as in JOSE. ES256 signatures are the 64 bytes of IEEE P1363. */
export type KeyAlgorithm = 'Ed25519' | 'ES256';

/** Checks signatures of one key. */
export interface Verifier {
  readonly keyid: string;
  readonly algorithm: KeyAlgorithm;
  /** Ed25519: the 32 bytes of RFC 8032. ES256: the 65 bytes of the uncompressed point. */
  readonly publicKey: Uint8Array;
  verify(bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** Signing is asynchronous, so that the key may live in hardware or in a key management service. */
export interface Signer {
  readonly keyid: string;
  readonly algorithm: KeyAlgorithm;
  readonly publicKey: Uint8Array;
  sign(bytes: Uint8Array): Promise<Uint8Array>;
  verifier(): Verifier;
}

export interface KeyPair {
  /** PKCS #8. */
  readonly privatePem: string;
  /** SubjectPublicKeyInfo. */
  readonly publicPem: string;
  readonly keyid: string;
}

const P256 = 'prime256v1';

/** A hint for finding the key, not a proof of anything: 64 bits tell keys apart. */
const KEYID_HEX_DIGITS = 16;

/** SubjectPublicKeyInfo is a constant for each algorithm, and then the raw key. */
const RAW_KEY_BYTES = { Ed25519: 32, ES256: 65 } as const satisfies Record<KeyAlgorithm, number>;

export function generateKeyPair(algorithm: KeyAlgorithm = 'Ed25519'): KeyPair {
  const { privateKey, publicKey } =
    algorithm === 'Ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: P256 });
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    keyid: keyidOf(publicKey),
  };
}

export function signerFromPem(privatePem: string): Signer {
  return signerOf(load('private key PEM', () => createPrivateKey(privatePem)));
}

/** Also takes a private PEM, of which it keeps the public half only. */
export function verifierFromPem(publicPem: string): Verifier {
  return verifierOf(load('public key PEM', () => createPublicKey(publicPem)));
}

export function verifierFromJwk(jwk: JsonWebKey): Verifier {
  return verifierOf(load('public JWK', () => createPublicKey({ key: jwk, format: 'jwk' })));
}

function signerOf(privateKey: KeyObject): Signer {
  const verifier = verifierOf(createPublicKey(privateKey));
  const { keyid, algorithm, publicKey } = verifier;
  const digest = digestName(algorithm);
  return {
    keyid,
    algorithm,
    publicKey,
    // A signature takes 30 microseconds here, which is less than a way to the thread pool and back.
    sign: async (bytes) => sign(digest, bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
    verifier: () => verifier,
  };
}

function verifierOf(given: KeyObject): Verifier {
  const algorithm = algorithmOf(given) ?? 'Ed25519';
  const key = canonicalPoint(given);
  const digest = digestName(algorithm);
  return {
    keyid: keyidOf(key),
    algorithm,
    publicKey: spkiOf(key).subarray(-RAW_KEY_BYTES[algorithm]),
    verify: (bytes, signature) =>
      verify(digest, bytes, { key, dsaEncoding: 'ieee-p1363' }, signature),
  };
}

/** Ed25519 hashes by itself. */
function digestName(algorithm: KeyAlgorithm): 'sha256' | null {
  return algorithm === 'ES256' ? 'sha256' : null;
}

/** A PEM may hold a compressed point, which must not give the same key another id. */
function canonicalPoint(publicKey: KeyObject): KeyObject {
  if (publicKey.asymmetricKeyType !== 'ec') return publicKey;
  return createPublicKey({ key: publicKey.export({ format: 'jwk' }), format: 'jwk' });
}

function load(what: string, read: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch (cause) {
    throw new ZlError('config.invalid', `the ${what} cannot be read`, { cause });
  }
  if (algorithmOf(key) !== undefined) return key;
  const { namedCurve = key.asymmetricKeyType } = key.asymmetricKeyDetails ?? {};
  throw new ZlError('config.invalid', `the ${what} is ${namedCurve}, not ed25519 or P-256`);
}

function algorithmOf(key: KeyObject): KeyAlgorithm | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519';
  return key.asymmetricKeyDetails?.namedCurve === P256 ? 'ES256' : undefined;
}

function keyidOf(publicKey: KeyObject): string {
  return hash('sha256', spkiOf(publicKey), 'hex').slice(0, KEYID_HEX_DIGITS);
}

function spkiOf(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}
