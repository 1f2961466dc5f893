import { createPrivateKey, type KeyObject, randomUUID, verify, X509Certificate } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { parseCertificates, type TlsMaterial } from '@zerolatency/service/tls';
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { clientChainFault } from './certificate-chain.ts';
import { certificateName } from './certificate-name.ts';
import { algorithmOf, JWT_KINDS } from './jwt.ts';

const { types: PEER_TOKEN_TYPES, toleranceS: CLOCK_TOLERANCE_S } = JWT_KINDS.peerToken;
const [PEER_TOKEN_TYPE] = PEER_TOKEN_TYPES;
const TOKEN_LIFETIME_S = 60;
/** Three RSA certificates fit; a server's header limit is not much larger. */
const MAX_TOKEN_CHARS = 12 * 1024;
/** A leaf and two above it, of which the last may be the root. */
const MAX_CHAIN = 3;
const MAX_JTI_CHARS = 64;

/** For the upgrade request of a link, as "authorization: Bearer <token>". One token opens one link. */
export async function signPeerToken(
  { cert, key }: Pick<TlsMaterial, 'cert' | 'key'>,
  { audience, nowMs }: { readonly audience: string; readonly nowMs: number },
): Promise<string> {
  const privateKey = createPrivateKey(key);
  const alg = algorithmOf(privateKey);
  if (alg === undefined) {
    throw new ZlError('config.invalid', 'the key must be Ed25519, EC P-256 or RSA of 2048 bits');
  }
  const issuedAtS = Math.floor(nowMs / 1000);
  return new SignJWT({})
    .setProtectedHeader({ alg, typ: PEER_TOKEN_TYPE, x5c: parseCertificates(cert).map(toBase64) })
    .setAudience(audience)
    .setIssuedAt(issuedAtS)
    .setExpirationTime(issuedAtS + TOKEN_LIFETIME_S)
    .setJti(randomUUID())
    .sign(privateKey);
}

function toBase64(certificate: X509Certificate): string {
  return certificate.raw.toString('base64');
}

export interface PeerClaims {
  readonly name: string;
  /** For the caller's ReplayGuard. */
  readonly jti: string;
  /** After this the token is refused whether or not its id is remembered. */
  readonly expiresAtMs: number;
}

interface Expected {
  /** PEM. */
  readonly ca: string;
  readonly audience: string;
  readonly nowMs: number;
}

/**
 * The holder of the certificate that signed this token; identity.invalid
 * otherwise. Synchronous, because an upgrade is decided before the socket
 * engine reads on; jose verifies only asynchronously, so it just decodes.
 */
export function verifyPeerToken(
  token: string,
  expected: Expected,
): PeerClaims | { error: ZlError } {
  if (token.length > MAX_TOKEN_CHARS) return refuse('the token is too long');
  const chain = readChain(token);
  if (chain === undefined) return refuse('the token carries no readable certificate chain');
  const fault = clientChainFault(chain, parseCertificates(expected.ca), expected.nowMs);
  if (fault !== undefined) return refuse(fault);
  const leaf = chain[0];
  const name = leaf && certificateName(leaf);
  if (leaf === undefined || name === undefined) return refuse('the certificate has no name');
  if (!isSignedWith(leaf.publicKey, token)) return refuse('its signature does not hold');
  const claims = readClaims(token);
  if (claims === undefined) return refuse('it lacks a claim');
  const claimFault = faultOf(claims, expected);
  if (claimFault !== undefined) return refuse(claimFault);
  const { jti, exp } = claims;
  return { name, jti, expiresAtMs: (exp + CLOCK_TOLERANCE_S) * 1000 };
}

/** RFC 7515, with the one algorithm that fits the key. */
function isSignedWith(key: KeyObject, token: string): boolean {
  const algorithm = algorithmOf(key);
  const { alg, typ, crit } = decodeProtectedHeader(token);
  if (algorithm === undefined || alg !== algorithm) return false;
  if (typ !== PEER_TOKEN_TYPE || crit !== undefined) return false;
  const parts = token.split('.');
  const encoded = parts[2] ?? '';
  const signature = Buffer.from(encoded, 'base64url');
  // Node skips what is not base64; a signature has one encoding.
  if (parts.length !== 3 || signature.toString('base64url') !== encoded) return false;
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
  const digest = algorithm === 'EdDSA' ? null : 'sha256';
  return verify(digest, signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
}

interface Claims {
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
}

function readClaims(token: string): Claims | undefined {
  try {
    const { aud, iat, exp, jti } = decodeJwt(token);
    const areNumbers = typeof iat === 'number' && typeof exp === 'number';
    if (!areNumbers || typeof aud !== 'string' || typeof jti !== 'string') return undefined;
    return { aud, iat, exp, jti };
  } catch {
    // Signed, but not a set of claims.
    return undefined;
  }
}

function faultOf({ aud, iat, exp, jti }: Claims, { audience, nowMs }: Expected) {
  const nowS = Math.floor(nowMs / 1000);
  if (aud !== audience) return 'its aud is not ours';
  if (nowS >= exp + CLOCK_TOLERANCE_S) return 'it has expired';
  if (nowS < iat - CLOCK_TOLERANCE_S) return 'it is from the future';
  // Without these bounds a peer could make us remember its ids forever.
  if (exp - iat > TOKEN_LIFETIME_S) return 'it lives too long';
  if (jti === '' || jti.length > MAX_JTI_CHARS) return 'its id has a bad length';
  return undefined;
}

function readChain(token: string): X509Certificate[] | undefined {
  try {
    const { x5c } = decodeProtectedHeader(token);
    if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > MAX_CHAIN) return undefined;
    return x5c.map((der: unknown) => new X509Certificate(Buffer.from(String(der), 'base64')));
  } catch {
    // Certificates of a stranger may fail to parse in any way.
    return undefined;
  }
}

function refuse(why: string): { error: ZlError } {
  return { error: new ZlError('identity.invalid', `peer token refused: ${why}`) };
}
