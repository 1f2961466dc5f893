import type { JWTPayload, JWTVerifyGetKey } from 'jose';
import { type JwtRules, type SigningKey, verifyJwt } from './jwt.ts';
import { parseName } from './names.ts';
import type { ProvenIdentity } from './principal.ts';

/** They travel with every event, log line and record, so a token cannot make them large. */
const MAX_ROLES = 64;
/** Roles are named by people, in any language: no spaces to trim, nothing invisible. */
const ROLE = /^[\p{L}\p{N}][\p{L}\p{N}._@:|/+-]{0,255}$/u;

export type VerifiedAccessToken =
  | {
      readonly value: ProvenIdentity;
      readonly key: SigningKey | undefined;
      readonly error?: undefined;
    }
  | {
      readonly value?: undefined;
      readonly key?: undefined;
      readonly error: string;
      readonly cause?: unknown;
    };

/** Where an issuer writes who its user is: the name of a claim, or a JSON Pointer (RFC 6901) from "/" on. */
export interface ClaimNames {
  readonly tenant: string;
  readonly user: string;
  readonly roles: string;
}

const DEFAULT_CLAIMS: ClaimNames = { tenant: 'tenant', user: 'sub', roles: 'roles' };

export interface AccessTokenRules
  extends Required<Pick<JwtRules, 'issuer' | 'audience' | 'nowMs'>> {
  readonly algorithms?: readonly string[] | undefined;
  readonly claims?: ClaimNames;
  /** The tenant of every user of this issuer; its tokens cannot name another. */
  readonly tenant?: string | undefined;
}

/** The person an access token of the identity provider names. */
export async function verifyAccessToken(
  token: string,
  keys: JWTVerifyGetKey,
  { claims: names = DEFAULT_CLAIMS, tenant: fixedTenant, algorithms, ...rules }: AccessTokenRules,
): Promise<VerifiedAccessToken> {
  const verified = await verifyJwt('accessToken', token, keys, {
    ...rules,
    ...(algorithms && { algorithms }),
  });
  if (verified.error !== undefined) return verified;
  const { value: claims, expiresAtMs, key } = verified;
  const tenant = parseName('tenant', fixedTenant ?? claimAt(claims, names.tenant));
  if (tenant.error !== undefined) return { error: `its claim "${names.tenant}" ${tenant.error}` };
  const user = parseName('user', claimAt(claims, names.user));
  if (user.error !== undefined) return { error: `its claim "${names.user}" ${user.error}` };
  const roles = readRoles(claimAt(claims, names.roles));
  if (roles === undefined) {
    return { error: `its claim "${names.roles}" is not a list of at most ${MAX_ROLES} role names` };
  }
  return {
    value: { identity: { tenant: tenant.value, user: user.value, roles }, expiresAtMs },
    key,
  };
}

function claimAt(claims: JWTPayload, name: string): unknown {
  if (!name.startsWith('/')) return ownProperty(claims, name);
  const steps = name.slice(1).split('/');
  return steps
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>(ownProperty, claims);
}

function ownProperty(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

function readRoles(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_ROLES) return undefined;
  const isRole = (role: unknown): role is string => typeof role === 'string' && ROLE.test(role);
  return value.every(isRole) ? value : undefined;
}
