import { createPrivateKey, createPublicKey } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose';
import { readText } from '../input.ts';
import type { Settings } from '../settings.ts';

/** Long enough for a chat session to begin, short enough to be worthless when it leaks. */
const tokenLifetime = '10m';

/** The token given in a file, or one freshly signed with the local installation's issuer key. */
export async function readToken(identity: Settings['identity']): Promise<string> {
  if ('tokenFile' in identity) return (await readText(identity.tokenFile)).trim();
  const pem = await readText(identity.issuerKeyFile);
  const key = createPrivateKey(pem);
  const kid = await calculateJwkThumbprint(await exportJWK(createPublicKey(pem)));
  const { tenant, roles, user, issuer, audience } = identity;
  return await new SignJWT({ tenant, roles })
    .setProtectedHeader({ alg: 'EdDSA', kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(user)
    .setIssuedAt()
    .setExpirationTime(tokenLifetime)
    .sign(key);
}
