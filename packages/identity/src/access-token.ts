import type { JWTVerifyGetKey } from 'jose';
import { type JwtRules, verifyJwt } from './jwt.ts';
import { parseName } from './names.ts';
import type { ProvenIdentity } from './principal.ts';

/** They travel with every event, log line and record, so a token cannot make them large. */
const MAX_ROLES = 64;
/** Roles are named by people, in any language: no spaces to trim, nothing invisible. */
const ROLE = /^[\p{L}\p{N}][\p{L}\p{N}._@:|/+-]{0,255}$/u;

export type VerifiedAccessToken =
  | { readonly value: ProvenIdentity; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string; readonly cause?: unknown };

/** The person an access token of the identity provider names. */
export async function verifyAccessToken(
  token: string,
  keys: JWTVerifyGetKey,
  rules: Required<Pick<JwtRules, 'issuer' | 'audience' | 'nowMs'>>,
): Promise<VerifiedAccessToken> {
  const verified = await verifyJwt('accessToken', token, keys, rules);
  if (verified.error !== undefined) return verified;
  const { value: claims, expiresAtMs } = verified;
  const tenant = parseName('tenant', claims.tenant);
  if (tenant.error !== undefined) return { error: `its claim "tenant" ${tenant.error}` };
  const user = parseName('user', claims.sub);
  if (user.error !== undefined) return { error: `its claim "sub" ${user.error}` };
  const roles = readRoles(claims.roles);
  if (roles === undefined) {
    return { error: `its claim "roles" is not a list of at most ${MAX_ROLES} role names` };
  }
  return { value: { identity: { tenant: tenant.value, user: user.value, roles }, expiresAtMs } };
}

function readRoles(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_ROLES) return undefined;
  const isRole = (role: unknown): role is string => typeof role === 'string' && ROLE.test(role);
  return value.every(isRole) ? value : undefined;
}
