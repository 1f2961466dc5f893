import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { parseName } from '@zerolatency/identity';
import type { RegistrarService } from '@zerolatency/proto/registrar';
import { durationMicros } from '@zerolatency/service/rpc';
import { type Invitations, MAX_CODE_LIFETIME_MS } from '../registrar/invitations.ts';
import type { Renewals } from '../registrar/renewals.ts';
import type { RevocationAuthority } from '../registrar/revocation-authority.ts';
import { callerIn } from './server.ts';

export interface RegistrarServiceDeps {
  readonly invitations: Invitations;
  readonly enrolUrl: () => string;
  readonly revocations: RevocationAuthority | undefined;
  readonly renewals: Renewals | undefined;
}

/** What operators, relays and hosts ask of the registrar. */
export function registrarService({
  invitations,
  enrolUrl,
  revocations,
  renewals,
}: RegistrarServiceDeps): ServiceImpl<typeof RegistrarService> {
  return {
    createCode: async ({ tenant, deviceId, lifetime }, context) => {
      expectName('tenant', tenant, 'tenant');
      if (deviceId !== '') expectName('device', deviceId, 'device_id');
      const lifetimeMs = lifetime ? durationMicros(lifetime) / 1000 : MAX_CODE_LIFETIME_MS;
      if (lifetimeMs <= 0 || lifetimeMs > MAX_CODE_LIFETIME_MS) {
        throw invalid('lifetime', 'must be more than 0 and at most 15 minutes');
      }
      const operator = callerIn(context).name;
      const made = await invitations.create({ tenant, deviceId, lifetimeMs, operator });
      const expiresAt = timestampFromMs(made.expiresAtMs);
      return { code: made.code, expiresAt, enrolUrl: enrolUrl() };
    },
    revoke: async ({ tenant, deviceId }, context) => {
      expectName('tenant', tenant, 'tenant');
      expectName('device', deviceId, 'device_id');
      const operator = callerIn(context).name;
      const made = await configured(revocations).revoke({ tenant, deviceId }, operator);
      return { revokedAt: timestampFromMs(made.revokedAtMs), version: BigInt(made.version) };
    },
    watchRevocations: async function* ({ version }, { signal }) {
      for await (const update of configured(revocations).watch(Number(version), signal)) {
        yield { version: BigInt(update.version), envelope: update.envelope };
      }
    },
    renew: async ({ credential, proof }, context) => {
      const made = await configured(renewals).renew({ credential, proof }, callerIn(context).name);
      return { credential: made.credential, expiresAt: timestampFromMs(made.expiresAtMs) };
    },
  };
}

function configured<T>(part: T | undefined): T {
  if (part !== undefined) return part;
  throw new ZlError('request.unimplemented', 'registrar.revocations is not set');
}

function expectName(kind: 'tenant' | 'device', given: string, field: string): void {
  const { error } = parseName(kind, given);
  if (error !== undefined) throw invalid(field, error);
}

function invalid(field: string, why: string): ZlError {
  return new ZlError('request.invalid', `${field} ${why}`, { field });
}
