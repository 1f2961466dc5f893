import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { ZlError } from '@zerolatency/errors';
import { parseName } from '@zerolatency/identity';
import type { RegistrarService } from '@zerolatency/proto/registrar';
import { durationMicros } from '@zerolatency/service/rpc';
import { type Invitations, MAX_CODE_LIFETIME_MS } from '../registrar/invitations.ts';
import { callerIn } from './server.ts';

export interface RegistrarServiceDeps {
  readonly invitations: Invitations;
  readonly enrolUrl: () => string;
}

/** What operators ask of the registrar. */
export function registrarService({
  invitations,
  enrolUrl,
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
  };
}

function expectName(kind: 'tenant' | 'device', given: string, field: string): void {
  const { error } = parseName(kind, given);
  if (error !== undefined) throw invalid(field, error);
}

function invalid(field: string, why: string): ZlError {
  return new ZlError('request.invalid', `${field} ${why}`, { field });
}
