import { ZlError } from '@zerolatency/errors';
import type { JWTPayload } from 'jose';
import type { Identity } from '../../ports.ts';

// These travel with every event, log line and record, so a token cannot make them large.
const MAX_NAME_CHARS = 256;
const MAX_ROLES = 64;

// Names appear in logs, paths of keys and terminals: no spaces to trim, nothing invisible.
const namePattern = /^[\p{L}\p{N}][\p{L}\p{N}._@:|/+-]*$/u;

export function identityOf(claims: JWTPayload): Identity {
  return {
    tenant: name(claims.tenant, 'tenant'),
    user: name(claims.sub, 'sub'),
    roles: roles(claims.roles),
  };
}

function name(value: unknown, claim: string): string {
  if (typeof value !== 'string' || value.length > MAX_NAME_CHARS || !namePattern.test(value)) {
    throw new ZlError('identity.invalid', `the token's claim "${claim}" is missing or not a name`);
  }
  return value;
}

function roles(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_ROLES) {
    throw new ZlError(
      'identity.invalid',
      `the token's claim "roles" is not a list of at most ${MAX_ROLES}`,
    );
  }
  return value.map((role) => name(role, 'roles'));
}
