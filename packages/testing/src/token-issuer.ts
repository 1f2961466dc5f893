import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type JWTPayload, SignJWT } from 'jose';
import { makeKey, type TestKey } from './key.ts';

interface TokenOptions {
  readonly tenant?: string;
  readonly user?: string;
  readonly roles?: readonly string[];
  readonly nowMs?: number;
  readonly expiresInMs?: number;
  /** Added to the claims of a valid token, or replacing them. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** A key outside the key set, for a forged token. */
  readonly key?: TestKey;
}

export interface TestTokenIssuer {
  readonly issuer: string;
  readonly audience: string;
  readonly key: TestKey;
  readonly jwksFile: string;
  /** The claims of a valid token, for tests that forge one. */
  claims(options?: TokenOptions): JWTPayload;
  token(options?: TokenOptions): Promise<string>;
}

/** Issues access tokens, and writes the key set with which a host verifies them. */
export async function makeTokenIssuer(
  dir: string,
  { issuer = 'https://issuer.test', audience = 'zero-latency' } = {},
): Promise<TestTokenIssuer> {
  const key = makeKey();
  const jwksFile = join(dir, `users-${randomUUID()}.jwks.json`);
  writeFileSync(jwksFile, JSON.stringify({ keys: [key.publicJwk] }));

  const claimsOf = (options: TokenOptions = {}): JWTPayload => {
    const { tenant = 'north', user = 'user-1', roles = ['user'], claims = {} } = options;
    const issuedAtS = Math.floor((options.nowMs ?? Date.now()) / 1000);
    const expiresInMs = options.expiresInMs ?? 10 * 60 * 1000;
    return {
      iss: issuer,
      aud: audience,
      sub: user,
      tenant,
      roles,
      iat: issuedAtS,
      exp: issuedAtS + Math.floor(expiresInMs / 1000),
      ...claims,
    };
  };
  const token = (options: TokenOptions = {}): Promise<string> =>
    new SignJWT(claimsOf(options))
      .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid: key.kid })
      .sign((options.key ?? key).privateKey);
  return { issuer, audience, key, jwksFile, claims: claimsOf, token };
}
