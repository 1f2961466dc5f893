import { createPrivateKey, createPublicKey } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose';
import { readText } from '../input.ts';
import type { Settings } from '../settings.ts';

/** Long enough to start a chat, short enough to be worthless when it leaks. */
const TOKEN_LIFETIME = '10m';

/** The access token in the given file, or a new one signed with the local issuer's key. */
export async function readToken(identity: Settings['identity']): Promise<string> {
  if ('tokenFile' in identity) return (await readText(identity.tokenFile)).trim();
  const pem = await readText(identity.issuerKeyFile);
  const key = createPrivateKey(pem);
  const kid = await calculateJwkThumbprint(await exportJWK(createPublicKey(pem)));
  const { tenant, roles, user, issuer, audience } = identity;
  return new SignJWT({ tenant, roles })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(user)
    .setIssuedAt()
    .setExpirationTime(TOKEN_LIFETIME)
    .sign(key);
}
