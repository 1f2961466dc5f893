import { X509Certificate } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { decodeProtectedHeader, errors, jwtVerify } from 'jose';
import { clientChainFault } from './certificate-chain.ts';
import { certificateName } from './certificate-name.ts';
import { algorithmOf, CLOCK_TOLERANCE_S, PEER_TOKEN_TYPE, TOKEN_LIFETIME_S } from './peer-token.ts';
import { parseCertificates } from './tls-material.ts';

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

/** Who holds the certificate that signed this token; identity.invalid otherwise. */
export async function verifyPeerToken(
  token: string,
  expected: Expected,
): Promise<Peer | { error: ZlError }> {
  if (token.length > MAX_TOKEN_CHARS) return refuse('the token is too long');
  const chain = readChain(token);
  if (chain === undefined) return refuse('the token carries no readable certificate chain');
  const fault = clientChainFault(chain, parseCertificates(expected.ca), expected.nowMs);
  if (fault !== undefined) return refuse(fault);
  const leaf = chain[0];
  const name = leaf && certificateName(leaf);
  if (leaf === undefined || name === undefined) return refuse('the certificate names nobody');
  return verifyClaims({ token, leaf, name }, expected);
}

interface Presented {
  readonly token: string;
  readonly leaf: X509Certificate;
  readonly name: string;
}

async function verifyClaims({ token, leaf, name }: Presented, { audience, nowMs }: Expected) {
  const algorithm = algorithmOf(leaf.publicKey);
  if (algorithm === undefined) return refuse('the certificate has a key of an unsupported kind');
  try {
    const { payload } = await jwtVerify(token, leaf.publicKey, {
      algorithms: [algorithm],
      audience,
      typ: PEER_TOKEN_TYPE,
      currentDate: new Date(nowMs),
      clockTolerance: CLOCK_TOLERANCE_S,
      maxTokenAge: TOKEN_LIFETIME_S,
      requiredClaims: ['aud', 'exp', 'iat', 'jti'],
    });
    const { jti, exp = 0, iat = 0 } = payload;
    // Without these bounds a peer could make us remember its ids for ever.
    if (exp - iat > TOKEN_LIFETIME_S) return refuse('the token lives too long');
    if (typeof jti !== 'string' || jti === '' || jti.length > MAX_JTI_CHARS) {
      return refuse('the token id is not a text of 1 to 64 characters');
    }
    return { name, jti, expiresAtMs: (exp + CLOCK_TOLERANCE_S) * 1000 };
  } catch (reason) {
    if (reason instanceof errors.JOSEError) return refuse(reason.message);
    throw reason;
  }
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
