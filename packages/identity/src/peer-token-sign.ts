import { createPrivateKey, randomUUID, type X509Certificate } from 'node:crypto';
import { ZlError } from '@zerolatency/errors';
import { parseCertificates, type TlsMaterial } from '@zerolatency/service/tls';
import { SignJWT } from 'jose';
import { algorithmOf, PEER_TOKEN_TYPE, TOKEN_LIFETIME_S } from './peer-token.ts';

/** For the upgrade request of a link: "authorization: Bearer <token>". One token, one connection. */
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
