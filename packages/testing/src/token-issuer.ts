import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { makeKey, type TestKey } from './key.ts';

interface TokenOptions {
  readonly tenant?: string;
  readonly user?: string;
  readonly roles?: readonly string[];
  readonly nowMs?: number;
  readonly expiresInMs?: number;
  /** Instead of, or beside, the claims of a good token. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Another key than the one in the key set, for a forged token. */
  readonly key?: TestKey;
}

export interface TestTokenIssuer {
  readonly issuer: string;
  readonly audience: string;
  readonly key: TestKey;
  readonly jwksFile: string;
  token(options?: TokenOptions): Promise<string>;
}

/** Issues the JWTs of people, and writes the key set that a host verifies them by. */
export async function makeTokenIssuer(
  dir: string,
  { issuer = 'https://issuer.test', audience = 'zero-latency' } = {},
): Promise<TestTokenIssuer> {
  const key = makeKey();
  const jwksFile = join(dir, `users-${randomUUID()}.jwks.json`);
  writeFileSync(jwksFile, JSON.stringify({ keys: [key.publicJwk] }));

  const token = (options: TokenOptions = {}): Promise<string> => {
    const { tenant = 'north', user = 'user-1', roles = ['user'], claims = {} } = options;
    const issuedAtS = Math.floor((options.nowMs ?? Date.now()) / 1000);
    const expiresInMs = options.expiresInMs ?? 10 * 60 * 1000;
    return new SignJWT({
      iss: issuer,
      aud: audience,
      sub: user,
      tenant,
      roles,
      iat: issuedAtS,
      exp: issuedAtS + Math.floor(expiresInMs / 1000),
      ...claims,
    })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid: key.kid })
      .sign((options.key ?? key).privateKey);
  };
  return { issuer, audience, key, jwksFile, token };
}
