import { type KeyObject, verify, X509Certificate } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { parseCertificates } from '@zerolatency/service/tls';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { clientChainFault } from './certificate-chain.ts';
import { certificateName } from './certificate-name.ts';
import { algorithmOf, CLOCK_TOLERANCE_S, PEER_TOKEN_TYPE, TOKEN_LIFETIME_S } from './peer-token.ts';

export interface Peer {
  readonly name: string;
  /** For the caller's ReplayGuard. */
  readonly jti: string;
  /** From then on the token is refused without being remembered. */
  readonly expiresAtMs: number;
}

interface Expected {
  /** PEM. */
  readonly ca: string;
  readonly audience: string;
  readonly nowMs: number;
}

/** Three RSA certificates; an upgrade request has to fit into a server's header limit anyway. */
const MAX_TOKEN_CHARS = 12 * 1024;
/** A leaf, and two intermediates or an intermediate and the root. */
const MAX_CHAIN = 3;
const MAX_JTI_CHARS = 64;

/**
 * Who holds the certificate that signed this token; identity.invalid otherwise.
 * It answers at once, because an upgrade has to be decided before the engine
 * reads on; jose, which only answers later, still reads the token's parts.
 */
export function verifyPeerToken(token: string, expected: Expected): Peer | { error: ZlError } {
  if (token.length > MAX_TOKEN_CHARS) return refuse('the token is too long');
  const chain = readChain(token);
  if (chain === undefined) return refuse('the token carries no readable certificate chain');
  const fault = clientChainFault(chain, parseCertificates(expected.ca), expected.nowMs);
  if (fault !== undefined) return refuse(fault);
  const leaf = chain[0];
  const name = leaf && certificateName(leaf);
  if (leaf === undefined || name === undefined) return refuse('the certificate names nobody');
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
  // Node reads past what is not base64; a signature has one spelling.
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
    // Signed or not, it is no set of claims.
    return undefined;
  }
}

function faultOf({ aud, iat, exp, jti }: Claims, { audience, nowMs }: Expected) {
  const nowS = Math.floor(nowMs / 1000);
  if (aud !== audience) return 'its aud is another';
  if (nowS >= exp + CLOCK_TOLERANCE_S) return 'it has expired';
  if (nowS < iat - CLOCK_TOLERANCE_S) return 'it is from the future';
  if (nowS > iat + TOKEN_LIFETIME_S + CLOCK_TOLERANCE_S) return 'it is too old';
  // Without these bounds a peer could make us remember its ids for ever.
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
    // Whatever is wrong in what a stranger sent, it is no chain.
    return undefined;
  }
}

function refuse(why: string): { error: ZlError } {
  return { error: new ZlError('identity.invalid', `peer token refused: ${why}`) };
}
