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

/** Checks signatures of one Ed25519 key. */
export interface Verifier {
  readonly keyid: string;
  /** The 32 bytes of RFC 8032. */
  readonly publicKey: Uint8Array;
  verify(bytes: Uint8Array, signature: Uint8Array): boolean;
}

export interface Signer {
  readonly keyid: string;
  readonly publicKey: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
  verifier(): Verifier;
}

export interface KeyPair {
  /** PKCS #8. */
  readonly privatePem: string;
  /** SubjectPublicKeyInfo. */
  readonly publicPem: string;
  readonly keyid: string;
}

/** A hint for finding the key, not a proof of anything: 64 bits tell keys apart. */
const KEYID_HEX_DIGITS = 16;

/** SubjectPublicKeyInfo of Ed25519 is this constant and then the 32 bytes. */
const SPKI_PREFIX_BYTES = 12;

export function generateKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    keyid: keyidOf(publicKey),
  };
}

export function signerFromPem(privatePem: string): Signer {
  return signerOf(load('private key PEM', () => createPrivateKey(privatePem)));
}

export function signerFromJwk(jwk: JsonWebKey): Signer {
  return signerOf(load('private JWK', () => createPrivateKey({ key: jwk, format: 'jwk' })));
}

/** Also takes a private PEM, of which it keeps the public half only. */
export function verifierFromPem(publicPem: string): Verifier {
  return verifierOf(load('public key PEM', () => createPublicKey(publicPem)));
}

export function verifierFromJwk(jwk: JsonWebKey): Verifier {
  return verifierOf(load('public JWK', () => createPublicKey({ key: jwk, format: 'jwk' })));
}

function signerOf(privateKey: KeyObject): Signer {
  const publicKey = createPublicKey(privateKey);
  return {
    keyid: keyidOf(publicKey),
    publicKey: rawOf(publicKey),
    sign: (bytes) => sign(null, bytes, privateKey),
    verifier: () => verifierOf(publicKey),
  };
}

function verifierOf(publicKey: KeyObject): Verifier {
  return {
    keyid: keyidOf(publicKey),
    publicKey: rawOf(publicKey),
    verify: (bytes, signature) => verify(null, bytes, publicKey, signature),
  };
}

function load(what: string, read: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = read();
  } catch (cause) {
    throw new ZlError('config.invalid', `the ${what} cannot be read`, { cause });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new ZlError('config.invalid', `the ${what} is ${key.asymmetricKeyType}, not ed25519`);
}

function keyidOf(publicKey: KeyObject): string {
  return hash('sha256', spkiOf(publicKey), 'hex').slice(0, KEYID_HEX_DIGITS);
}

function rawOf(publicKey: KeyObject): Uint8Array {
  return spkiOf(publicKey).subarray(SPKI_PREFIX_BYTES);
}

function spkiOf(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' });
}
